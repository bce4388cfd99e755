//! What is put right: corrections, dues that are paid, debts that are given up.

use base::{DriverId, Piasters, RiderId, Role, UserId};
use uuid::Uuid;

use super::{Wallet, leg, moved};
use crate::model::{Account, Journal, Kind, Mode, RiderFunds};

/// A correction by an admin: `amount` into (or, negative, out of) the user's main account. `None`
/// for accounts without a wallet. `key` names the correction; without one each call is a new one.
pub fn adjustment(
    admin: UserId,
    user: UserId,
    role: Role,
    amount: Piasters,
    reason: &str,
    key: Option<&str>,
) -> Option<Journal> {
    let account = Wallet::of(user, role)?.account();
    let legs = [leg(Account::Adjustments, -amount), leg(account, amount)];
    let key = named("adjust", admin, key);
    let mut journal = Journal::new(Kind::Adjustment, user.0, key, Mode::Authorising, &legs);
    journal.note = Some(reason.to_owned());
    Some(journal)
}

/// Pays what a rider owes from his wallet, as far as it goes; `None` when there is nothing to pay
/// or to pay with. `after` is the journal that brought the money: each pays the due once.
pub fn pay_due(rider: RiderId, funds: &RiderFunds, after: Uuid) -> Option<Journal> {
    let paid = funds.due.min(funds.wallet);
    if paid <= Piasters::ZERO {
        return None;
    }
    let user = UserId::from(rider);
    let legs = moved(Account::RiderWallet(user), Account::RiderDue(user), paid);
    Some(Journal::new(Kind::DuePaid, user.0, format!("due:{after}"), Mode::Authorising, &legs))
}

/// Who owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debtor {
    Rider(RiderId),
    Driver(DriverId),
}

/// An admin gives a debt up; the database refuses more than is owed. `key` as in [`adjustment`].
pub fn write_off(
    admin: UserId,
    debtor: Debtor,
    amount: Piasters,
    reason: &str,
    key: Option<&str>,
) -> Journal {
    let (user, account) = match debtor {
        Debtor::Rider(rider) => (UserId::from(rider), Account::RiderDue(rider.into())),
        Debtor::Driver(driver) => (UserId::from(driver), Account::Driver(driver.into())),
    };
    let legs = moved(Account::BadDebt, account, amount);
    let key = named("write_off", admin, key);
    let mut journal = Journal::new(Kind::WriteOff, user.0, key, Mode::Authorising, &legs);
    journal.note = Some(reason.to_owned());
    journal
}

/// Two admins may take the same word for different acts.
fn named(act: &str, admin: UserId, key: Option<&str>) -> String {
    match key {
        Some(key) => format!("{act}:{admin}:{key}"),
        None => format!("{act}:{}", Uuid::now_v7()),
    }
}
