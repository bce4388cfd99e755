//! What a trip cost its rider and earned its driver, line by line, as it stands in the ledger.

use base::{Caller, Millis, PaymentMethod, Piasters, Problem, Role, TripId};
use identity::AuditObject;
use ledger::{Account, Kind, TripLine};
use serde::Serialize;
use storage::Who;
use trips::{PaymentStatus, Place, StatusView, Trip};
use utoipa::ToSchema;

use crate::Flows;

/// A trip's receipt.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptView {
    pub trip_id: TripId,
    pub status: StatusView,
    pub payment_status: PaymentStatus,
    pub payment_method: PaymentMethod,
    pub currency: &'static str,
    pub ended_at: Option<Millis>,
    pub pickup: Place,
    pub destination: Place,
    /// Metres.
    pub distance: u32,
    /// Seconds.
    pub duration: u32,
    /// For the rider and for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge: Option<ChargeView>,
    /// For the driver and for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earnings: Option<EarningsView>,
}

/// What it cost: `fare − promo + rounding` is `toPay`, and `toPay + cancelFee + tip − refunded` is
/// `total`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChargeView {
    pub fare: Piasters,
    /// What the company paid of the fare.
    pub promo: Piasters,
    /// Cash is paid in coins there are: a little more than the rest, or (negative) less.
    pub rounding: Piasters,
    pub to_pay: Piasters,
    /// Of what was to be paid, once it was settled.
    pub paid: Piasters,
    /// What was left owing; a later top-up pays it.
    pub owed: Piasters,
    pub cancel_fee: Piasters,
    /// Cash over what was to be paid: it is in the wallet.
    pub change: Piasters,
    pub tip: Piasters,
    pub refunds: Vec<RefundView>,
    pub refunded: Piasters,
    pub total: Piasters,
}

/// Something that was given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefundView {
    pub amount: Piasters,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: Millis,
}

/// What it earned: `fare − commission + cancelShare + tip − refunded` is `total`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EarningsView {
    pub fare: Piasters,
    /// The company's, with the tax in it.
    pub commission: Piasters,
    /// Value added tax inside the commission.
    pub vat: Piasters,
    /// The driver's part of a cancellation fee.
    pub cancel_share: Piasters,
    pub tip: Piasters,
    /// What a refund took back.
    pub refunded: Piasters,
    pub total: Piasters,
    /// What of it is in the driver's hand already, as far as he says.
    pub cash: Piasters,
}

impl Flows {
    /// Rider and admin see what it cost, driver and admin what it earned.
    pub async fn receipt(&self, caller: &Caller, id: TripId) -> Result<ReceiptView, Problem> {
        let trip = self.trips.get(&Who::Caller(*caller), id).await?;
        self.note_look(caller, "trip.read_receipt", AuditObject::new("trip", id)).await?;
        if trip.status.is_live() {
            return Err(trips::Refusal::InvalidTransition { current: trip.status }.into());
        }
        // The company's accounts are in it: read as the program, shown as far as it concerns him.
        let mut tx = self.db.begin(&Who::System).await?;
        let lines = ledger::trip_lines(&mut tx, id).await?;
        drop(tx);
        let mut view = receipt(&trip, &lines);
        match caller.role {
            Role::Rider => view.earnings = None,
            Role::Driver => view.charge = None,
            Role::Admin => {}
        }
        Ok(view)
    }
}

fn receipt(trip: &Trip, lines: &[TripLine]) -> ReceiptView {
    ReceiptView {
        trip_id: trip.id,
        status: StatusView::of(trip.status, trip.payment_status),
        payment_status: trip.payment_status,
        payment_method: trip.method,
        currency: "EGP",
        ended_at: trip.ended_at,
        pickup: trip.pickup.clone(),
        destination: trip.destination.clone(),
        distance: trip.distance_m.unwrap_or(trip.quoted_distance_m),
        duration: trip.duration_s.unwrap_or(trip.quoted_duration_s),
        charge: Some(charge(trip, lines)),
        earnings: Some(earnings(trip, lines)),
    }
}

/// What journals of `kind` moved on accounts that `of` is true for.
fn moved(lines: &[TripLine], kind: Kind, of: fn(Account) -> bool) -> Piasters {
    let lines = lines.iter().filter(|line| line.kind == kind && of(line.account));
    lines.map(|line| line.amount).sum()
}

const fn is_due(account: Account) -> bool {
    matches!(account, Account::RiderDue(_))
}

const fn is_wallet(account: Account) -> bool {
    matches!(account, Account::RiderWallet(_))
}

const fn is_driver(account: Account) -> bool {
    matches!(account, Account::Driver(_))
}

fn charge(trip: &Trip, lines: &[TripLine]) -> ChargeView {
    let mut charge = ChargeView { cancel_fee: trip.cancel_fee, ..ChargeView::default() };
    if let Some(fare) = trip.final_price {
        charge.fare = fare;
        charge.promo = trip.promo;
        charge.to_pay = trip.to_pay();
        charge.rounding = charge.to_pay - (fare - trip.promo);
    }
    let short = moved(lines, Kind::CashDifference, is_due);
    charge.owed =
        -(moved(lines, Kind::Settle, is_due) + moved(lines, Kind::CancelFee, is_due) + short);
    charge.change = moved(lines, Kind::CashDifference, is_wallet);
    if trip.payment_status == PaymentStatus::Paid {
        charge.paid = charge.to_pay - charge.owed;
    } else if lines.iter().any(|line| line.kind == Kind::CancelFee) {
        charge.paid = trip.cancel_fee - charge.owed;
    }
    charge.tip = -moved(lines, Kind::Tip, is_wallet);
    charge.refunds = refunds(lines);
    charge.refunded = charge.refunds.iter().map(|refund| refund.amount).sum();
    charge.total = charge.to_pay + charge.cancel_fee + charge.tip - charge.refunded;
    charge
}

/// Into the wallet, or through the gateway back to a card.
fn refunds(lines: &[TripLine]) -> Vec<RefundView> {
    let given = |line: &&TripLine| {
        matches!(line.kind, Kind::Refund | Kind::Goodwill)
            && matches!(line.account, Account::RiderWallet(_) | Account::GatewayReceivable)
    };
    let lines = lines.iter().filter(given);
    lines
        .map(|line| RefundView { amount: line.amount, reason: line.note.clone(), at: line.at })
        .collect()
}

fn earnings(trip: &Trip, lines: &[TripLine]) -> EarningsView {
    let settled = trip.payment_status == PaymentStatus::Paid;
    let fare = trip.final_price.filter(|_| settled).unwrap_or_default();
    let shares = ledger::shares(fare, trip.commission);
    let mut earned = EarningsView {
        fare,
        commission: shares.commission + shares.vat,
        vat: shares.vat,
        cancel_share: moved(lines, Kind::CancelFee, is_driver),
        tip: moved(lines, Kind::Tip, is_driver),
        refunded: -moved(lines, Kind::Refund, is_driver),
        ..EarningsView::default()
    };
    if settled && trip.method == PaymentMethod::Cash {
        // What he had too much went out of his account, what he had too little came into it.
        earned.cash = trip.to_pay() - moved(lines, Kind::CashDifference, is_driver);
    }
    earned.total = fare - earned.commission + earned.cancel_share + earned.tip - earned.refunded;
    earned
}
