//! The facts of the event store, as a document: which there are, and what each of them says.

use serde::Serialize;
use serde_json::{Map, Value, json};
use trips::EventName;
use utoipa::{PartialSchema, ToSchema};

const ABOUT: &str = "What `event_store` and `outbox` hold. A fact is numbered without gaps within its \
aggregate, never changes, and names people by their ids only. Amounts are pounds with at most two \
decimals, as on the wire; only wallets count in whole piasters, as the ledger does. A reader of a \
version reads every fact of it that was ever stored: properties may be added, never taken away.";

/// The document of `schema/facts.json`: a JSON Schema per type of fact under `facts`.
pub fn facts() -> Value {
    let mut book = Book::default();
    for name in EventName::ALL {
        book.add::<trips::TripEvent>("trip", name.domain(), 1);
    }
    for name in ["WALLET_CREDITED", "WALLET_DEBITED"] {
        book.add::<ledger::WalletFact>("wallet", name, 1);
    }
    for name in fleet::SESSION_FACTS {
        book.add::<fleet::DriverSession>("driver", name, 1);
    }
    for name in fleet::FENCE_FACTS {
        book.add::<fleet::DriverAtFence>("driver", name, 1);
    }
    book.add::<payments::PaymentInitiated<'_>>("payment", "PAYMENT_INITIATED", 1);
    book.add::<payments::PaymentCompleted<'_>>("payment", "PAYMENT_COMPLETED", 1);
    book.add::<payments::PaymentFailed<'_>>("payment", "PAYMENT_FAILED", 1);
    for name in ["PAYMENT_REFUNDED", "PAYMENT_REFUND_FAILED"] {
        book.add::<payments::PaymentRefunded<'_>>("payment", name, 1);
    }
    for name in payments::WITHDRAWAL_FACTS {
        book.add::<payments::WithdrawalMoved>("withdrawal", name, 1);
    }
    for name in payments::CARD_FACTS {
        book.add::<payments::CardMoved>("card", name, 1);
    }
    for name in ["PROMO_GRANTED", "PROMO_REDEEMED"] {
        book.add::<flows::PromoFact>("promo", name, 1);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "SmartLine facts",
        "description": ABOUT,
        "facts": book.facts,
        "components": {"schemas": book.schemas},
    })
}

#[derive(Default)]
struct Book {
    facts: Map<String, Value>,
    schemas: Map<String, Value>,
}

#[derive(Serialize)]
struct About<'a> {
    aggregate: &'a str,
    version: i16,
    payload: Value,
}

impl Book {
    fn add<T: ToSchema>(&mut self, aggregate: &str, name: &str, version: i16) {
        let mut parts = vec![(T::name().into_owned(), <T as PartialSchema>::schema())];
        T::schemas(&mut parts);
        for (name, schema) in parts {
            self.schemas.insert(name, serde_json::to_value(schema).unwrap_or_default());
        }
        let payload = json!({"$ref": format!("#/components/schemas/{}", T::name())});
        let about = About { aggregate, version, payload };
        self.facts.insert(name.to_owned(), serde_json::to_value(about).unwrap_or_default());
    }
}
