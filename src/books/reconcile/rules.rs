//! What must fit, where the database alone can't say it: the gateway's list against our deposits,
//! stored balances against what the entries left.

use std::collections::HashSet;

use base::{Piasters, UserId};
use ledger::Account;
use uuid::Uuid;

use super::model::{Captured, Compared, Discrepancy, FindingKind, PaidDeposit};

/// What is known here of the captures in a list.
pub(crate) struct Ours {
    /// Deposits that the list names, by order or by payment, and those paid on its day.
    pub deposits: Vec<PaidDeposit>,
    /// Which of them were paid on its day.
    pub of_the_day: HashSet<Uuid>,
    /// Captures that wait in suspense, or waited there: a person knows of them.
    pub kept: HashSet<Uuid>,
}

/// The gateway's list of captures against our deposits.
pub(crate) fn compare(listed: &[Captured], ours: &Ours) -> Compared {
    let mut compared = Compared::default();
    let mut seen = HashSet::new();
    for capture in listed {
        let by_payment = ours
            .deposits
            .iter()
            .find(|deposit| deposit.transaction.as_deref() == Some(capture.transaction.as_str()));
        let by_order = || {
            let id = capture.of?;
            // One that was paid by another payment is not what this one paid for.
            ours.deposits.iter().find(|deposit| deposit.id == id && deposit.transaction.is_none())
        };
        match by_payment.or_else(by_order) {
            Some(deposit) if deposit.is_paid => {
                seen.insert(deposit.id);
                compared.found.extend(wrong_amount(capture, deposit));
            }
            _ if ours.kept.contains(&capture.kept_as) => {}
            known => compared.found.push(foreign(capture, known)),
        }
    }
    let unlisted = |deposit: &&PaidDeposit| {
        deposit.is_paid && ours.of_the_day.contains(&deposit.id) && !seen.contains(&deposit.id)
    };
    compared.unlisted = ours.deposits.iter().filter(unlisted).cloned().collect();
    compared
}

fn wrong_amount(capture: &Captured, deposit: &PaidDeposit) -> Option<Discrepancy> {
    (capture.amount != Some(deposit.amount)).then(|| Discrepancy {
        kind: FindingKind::WrongCapture,
        subject: deposit.subject(),
        expected: format!("{} here", deposit.amount),
        actual: format!("{} at the gateway, {}", amount(capture), capture.transaction),
    })
}

fn foreign(capture: &Captured, known: Option<&PaidDeposit>) -> Discrepancy {
    Discrepancy {
        kind: FindingKind::ForeignCapture,
        subject: format!("capture:{}", capture.transaction),
        expected: format!("a deposit of {} that is paid by it", amount(capture)),
        actual: match known {
            Some(known) => format!("{} is not paid", known.subject()),
            None => "none".to_owned(),
        },
    }
}

fn amount(capture: &Captured) -> String {
    capture.amount.map_or_else(|| "an amount we can't book".to_owned(), |a| a.to_string())
}

/// A deposit that the gateway does not know as captured.
impl From<&PaidDeposit> for Discrepancy {
    fn from(deposit: &PaidDeposit) -> Self {
        Self {
            kind: FindingKind::MissingCapture,
            subject: deposit.subject(),
            expected: format!("a capture of {}", deposit.amount),
            actual: "none at the gateway".to_owned(),
        }
    }
}

/// A wallet account: what is stored, and what its newest entry left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Balance {
    pub account: i16,
    pub owner: Uuid,
    pub stored: i64,
    pub last_seq: i64,
    /// After the newest entry.
    pub left: Option<i64>,
    pub newest_seq: Option<i64>,
    /// How low a driver may be; read only where he is below his floor.
    pub lowest: Option<i64>,
}

impl Balance {
    /// What is wrong with it.
    pub(crate) fn wrong(&self) -> impl Iterator<Item = Discrepancy> {
        [self.altered(), self.forbidden()].into_iter().flatten()
    }

    fn altered(&self) -> Option<Discrepancy> {
        let (left, seq) = (self.left.unwrap_or(0), self.newest_seq.unwrap_or(0));
        (self.stored != left || self.last_seq != seq).then(|| Discrepancy {
            kind: FindingKind::AlteredBalance,
            subject: self.subject(),
            expected: format!("{} after entry {seq}", Piasters(left)),
            actual: format!("{} after entry {}", Piasters(self.stored), self.last_seq),
        })
    }

    fn forbidden(&self) -> Option<Discrepancy> {
        let bound = match self.account {
            1 | 2 | 4 | 11 if self.stored < 0 => "0 or more".to_owned(),
            3 if self.stored > 0 => "0 or less".to_owned(),
            _ => match self.lowest {
                Some(lowest) if self.stored < lowest => format!("{} or more", Piasters(lowest)),
                _ => return None,
            },
        };
        Some(Discrepancy {
            kind: FindingKind::ForbiddenBalance,
            subject: self.subject(),
            expected: bound,
            actual: Piasters(self.stored).to_string(),
        })
    }

    fn subject(&self) -> String {
        let accounts = Account::all(UserId(self.owner));
        let account = accounts.into_iter().find(|account| account.kind() == self.account);
        let name = account.map_or("account", Account::name);
        format!("{name}:{}", self.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::PaidKind;

    const DEPOSIT: Uuid = Uuid::from_u128(1);

    fn captured(transaction: &str, deposit: Option<Uuid>, pounds: i64) -> Captured {
        Captured {
            transaction: transaction.to_owned(),
            of: deposit,
            kept_as: Uuid::from_u128(transaction.len() as u128),
            amount: Some(Piasters::pounds(pounds)),
        }
    }

    fn deposit(transaction: Option<&str>, is_paid: bool) -> PaidDeposit {
        PaidDeposit {
            kind: PaidKind::Deposit,
            id: DEPOSIT,
            amount: Piasters::pounds(200),
            attempt: 1,
            transaction: transaction.map(str::to_owned),
            is_paid,
        }
    }

    fn check(listed: &[Captured], deposits: Vec<PaidDeposit>, kept: &[u128], expected: &str) {
        let of_the_day = deposits.iter().map(|deposit| deposit.id).collect();
        let kept = kept.iter().map(|id| Uuid::from_u128(*id)).collect();
        let compared = compare(listed, &Ours { deposits, of_the_day, kept });
        let mut found: Vec<String> =
            compared.found.iter().map(|d| format!("{} {}", d.kind, d.subject)).collect();
        found.extend(compared.unlisted.iter().map(|d| format!("unlisted {}", d.id.as_u128())));
        assert_eq!(found.join(", "), expected, "{listed:?}");
    }

    #[test]
    fn what_is_captured_there_is_paid_here_and_the_other_way_round() {
        let id = DEPOSIT;
        check(&[captured("TX", None, 200)], vec![deposit(Some("TX"), true)], &[], "");
        // The payment's name may not be known here, then its order names the deposit.
        check(&[captured("TX", Some(id), 200)], vec![deposit(None, true)], &[], "");
        check(&[], vec![deposit(Some("TX"), true)], &[], "unlisted 1");
        check(&[], vec![deposit(None, false)], &[], "");
        check(&[captured("TX", None, 200)], vec![], &[], "foreign_capture capture:TX");
        let unpaid = vec![deposit(None, false)];
        check(&[captured("TX", Some(id), 200)], unpaid, &[], "foreign_capture capture:TX");
        let wrong = format!("wrong_capture deposit:{id}");
        check(&[captured("TX", None, 199)], vec![deposit(Some("TX"), true)], &[], &wrong);
    }

    #[test]
    fn what_a_card_paid_is_compared_like_a_deposit() {
        let paid = PaidDeposit { kind: PaidKind::Card, ..deposit(Some("TX"), true) };
        check(&[captured("TX", Some(DEPOSIT), 200)], vec![paid.clone()], &[], "");
        let wrong = format!("wrong_capture card:{DEPOSIT}");
        check(&[captured("TX", None, 201)], vec![paid.clone()], &[], &wrong);
        check(&[], vec![paid], &[], "unlisted 1");
    }

    #[test]
    fn a_second_capture_for_a_deposit_is_foreign_unless_it_is_in_suspense() {
        let listed = [captured("TX", Some(DEPOSIT), 200), captured("TX-2", Some(DEPOSIT), 200)];
        let paid = || vec![deposit(Some("TX"), true)];
        check(&listed, paid(), &[], "foreign_capture capture:TX-2");
        check(&listed, paid(), &[4], "");
    }

    #[test]
    fn a_capture_without_a_readable_amount_is_not_taken_for_equal() {
        let listed = [Captured { amount: None, ..captured("TX", None, 0) }];
        let wrong = format!("wrong_capture deposit:{DEPOSIT}");
        check(&listed, vec![deposit(Some("TX"), true)], &[], &wrong);
    }

    #[test]
    fn a_balance_is_what_the_newest_entry_left_and_within_its_bounds() {
        let sound = Balance {
            account: 1,
            owner: DEPOSIT,
            stored: 500,
            last_seq: 3,
            left: Some(500),
            newest_seq: Some(3),
            lowest: None,
        };
        let check = |balance: Balance, expected: &str| {
            let kinds: Vec<_> = balance.wrong().map(|wrong| wrong.kind.name()).collect();
            assert_eq!(kinds.join(" "), expected, "{balance:?}");
        };
        check(sound, "");
        check(Balance { stored: 0, last_seq: 0, left: None, newest_seq: None, ..sound }, "");
        check(Balance { stored: 501, ..sound }, "altered_balance");
        check(Balance { last_seq: 4, ..sound }, "altered_balance");
        check(Balance { left: None, newest_seq: None, ..sound }, "altered_balance");
        check(Balance { stored: -1, left: Some(-1), ..sound }, "forbidden_balance");
        check(Balance { account: 3, ..sound }, "forbidden_balance");
        let driver = Balance { account: 10, stored: -300, left: Some(-300), ..sound };
        check(driver, "");
        check(Balance { lowest: Some(-300), ..driver }, "");
        check(Balance { lowest: Some(-299), ..driver }, "forbidden_balance");
    }
}
