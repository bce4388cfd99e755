//! What a report says, and how it is written as a table.

use base::csv::{self, Cell};
use base::{CityId, DayRange, PaymentMethod, Piasters, Tier};
use serde::Serialize;
use utoipa::ToSchema;

/// Which days, and which trips of them.
#[derive(Clone, Copy, Debug)]
pub struct ReportAsked {
    pub days: DayRange,
    pub city: Option<CityId>,
    pub tier: Option<Tier>,
    pub method: Option<PaymentMethod>,
}

impl ReportAsked {
    /// What belongs to no trip is told only where all trips are asked for.
    pub(crate) const fn is_whole(&self) -> bool {
        self.city.is_none() && self.tier.is_none() && self.method.is_none()
    }
}

/// Trips of a day, a city, a tier and a payment method. Trips count on the day on which they ended,
/// money on the day on which it was booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TripDay {
    /// `2026-01-31`, in Cairo.
    pub day: String,
    pub city: CityId,
    pub city_name: String,
    pub tier: String,
    pub method: String,
    pub completed: i64,
    pub cancelled: i64,
    pub no_drivers: i64,
    /// Final prices of the completed trips.
    pub fares: Piasters,
    /// Of the fares, what could not be paid so far.
    pub unpaid: Piasters,
    /// The company's, without the tax.
    pub commission: Piasters,
    pub vat: Piasters,
    /// What the company paid of the fares.
    pub promo: Piasters,
    pub tips: Piasters,
    pub cancel_fees: Piasters,
    /// Given back to riders.
    pub refunds: Piasters,
}

/// A day's money that belongs to no trip, and what was outstanding at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompanyDay {
    /// `2026-01-31`, in Cairo.
    pub day: String,
    /// How many.
    pub deposits: i64,
    pub deposits_paid: Piasters,
    /// How many were sent.
    pub withdrawals: i64,
    /// Sent out.
    pub withdrawals_paid: Piasters,
    /// Sent, and came back.
    pub withdrawals_back: Piasters,
    pub gateway_fees: Piasters,
    /// By admins' corrections: given when positive.
    pub adjustments: Piasters,
    pub written_off: Piasters,
    /// At the end of the day, or now: free to spend.
    pub riders_wallets: Piasters,
    /// Set aside for trips.
    pub riders_held: Piasters,
    /// Owed by riders.
    pub riders_due: Piasters,
    /// Owed to drivers.
    pub drivers_credit: Piasters,
    /// Owed by drivers.
    pub drivers_debt: Piasters,
    /// Set aside for withdrawals.
    pub drivers_held: Piasters,
}

/// Days, oldest first. `company` is empty where only some of the trips are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DailyReport {
    pub from: String,
    pub to: String,
    pub currency: &'static str,
    pub trips: Vec<TripDay>,
    pub company: Vec<CompanyDay>,
}

const COLUMNS: &str = "day,city,city_name,tier,method,completed,cancelled,no_drivers,fares,unpaid,\
    commission,vat,promo,tips,cancel_fees,refunds,deposits,deposits_paid,withdrawals,\
    withdrawals_paid,withdrawals_back,gateway_fees,adjustments,written_off,riders_wallets,\
    riders_held,riders_due,drivers_credit,drivers_debt,drivers_held\r\n";
/// Columns of trips that are counts or money, and those of the company.
const OF_TRIPS: usize = 11;
const OF_COMPANY: usize = 14;

impl DailyReport {
    /// One table: a row per group of trips, and one per day for the company, whose city, tier and
    /// method are empty.
    pub fn csv(&self) -> String {
        let mut out = COLUMNS.to_owned();
        for trips in &self.trips {
            let mut cells = vec![
                Cell::Text(&trips.day),
                Cell::Number(trips.city.0.to_string()),
                Cell::Text(&trips.city_name),
                Cell::Text(&trips.tier),
                Cell::Text(&trips.method),
            ];
            cells.extend(trips.numbers().map(Cell::Number));
            cells.extend((0..OF_COMPANY).map(|_| Cell::Empty));
            csv::row(&mut out, &cells);
        }
        for company in &self.company {
            let mut cells = vec![Cell::Text(&company.day)];
            cells.extend((0..4 + OF_TRIPS).map(|_| Cell::Empty));
            cells.extend(company.numbers().map(Cell::Number));
            csv::row(&mut out, &cells);
        }
        out
    }
}

impl TripDay {
    fn numbers(&self) -> [String; OF_TRIPS] {
        [
            self.completed.to_string(),
            self.cancelled.to_string(),
            self.no_drivers.to_string(),
            self.fares.to_string(),
            self.unpaid.to_string(),
            self.commission.to_string(),
            self.vat.to_string(),
            self.promo.to_string(),
            self.tips.to_string(),
            self.cancel_fees.to_string(),
            self.refunds.to_string(),
        ]
    }
}

impl CompanyDay {
    fn numbers(&self) -> [String; OF_COMPANY] {
        [
            self.deposits.to_string(),
            self.deposits_paid.to_string(),
            self.withdrawals.to_string(),
            self.withdrawals_paid.to_string(),
            self.withdrawals_back.to_string(),
            self.gateway_fees.to_string(),
            self.adjustments.to_string(),
            self.written_off.to_string(),
            self.riders_wallets.to_string(),
            self.riders_held.to_string(),
            self.riders_due.to_string(),
            self.drivers_credit.to_string(),
            self.drivers_debt.to_string(),
            self.drivers_held.to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_every_column_and_no_name_is_a_formula() {
        let trips = TripDay {
            day: "2026-01-31".to_owned(),
            city: CityId(1),
            city_name: "=Cairo,\"1\"".to_owned(),
            tier: "economy".to_owned(),
            method: "cash".to_owned(),
            completed: 2,
            cancelled: 1,
            no_drivers: 0,
            fares: Piasters(10_050),
            unpaid: Piasters::ZERO,
            commission: Piasters(1_316),
            vat: Piasters(184),
            promo: Piasters::ZERO,
            tips: Piasters::ZERO,
            cancel_fees: Piasters::ZERO,
            refunds: Piasters(-5),
        };
        let company = CompanyDay {
            day: "2026-01-31".to_owned(),
            deposits: 1,
            deposits_paid: Piasters(20_000),
            withdrawals: 0,
            withdrawals_paid: Piasters::ZERO,
            withdrawals_back: Piasters::ZERO,
            gateway_fees: Piasters::ZERO,
            adjustments: Piasters(-100),
            written_off: Piasters::ZERO,
            riders_wallets: Piasters(20_000),
            riders_held: Piasters::ZERO,
            riders_due: Piasters::ZERO,
            drivers_credit: Piasters::ZERO,
            drivers_debt: Piasters(1_500),
            drivers_held: Piasters::ZERO,
        };
        let report = DailyReport {
            from: "2026-01-31".to_owned(),
            to: "2026-01-31".to_owned(),
            currency: "EGP",
            trips: vec![trips],
            company: vec![company],
        };
        let text = report.csv();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1],
            "2026-01-31,1,\"'=Cairo,\"\"1\"\"\",economy,cash,2,1,0,100.5,0,13.16,1.84,0,0,0,-0.05\
             ,,,,,,,,,,,,,,"
        );
        assert_eq!(lines[2], "2026-01-31,,,,,,,,,,,,,,,,1,200,0,0,0,0,-1,0,200,0,0,0,15,0");
        let columns = lines[0].split(',').count();
        // The name holds a comma of its own.
        assert_eq!(lines[1].split(',').count(), columns + 1);
        assert_eq!(lines[2].split(',').count(), columns);
    }
}
