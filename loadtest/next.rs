//! A trip that a driver is asked for, or has promised, while he carries a rider: it comes once that
//! one has got out.

use std::time::Instant;

use rand::RngExt;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::Failure;
use crate::client::Socket;
use crate::driver::{Driver, Parting};
use crate::job::{Answer, Doing};
use crate::stats::add;
use crate::wire::Offer;

/// What comes after the trip under way.
pub enum Next {
    Nothing,
    Weighing {
        offer: Offer,
        answer: Answer,
        at: Instant,
    },
    /// He said yes and the answer was lost.
    Unsure(Offer),
    Promised(Offer),
}

impl Next {
    /// When something is due.
    pub fn wake(&self) -> Option<Instant> {
        match self {
            Self::Weighing { at, .. } => Some(*at).filter(|at| *at > Instant::now()),
            Self::Nothing | Self::Unsure(_) | Self::Promised(_) => None,
        }
    }

    pub fn weighs(&self, trip: Uuid) -> bool {
        matches!(self, Self::Weighing { offer, .. } if offer.trip_id == trip)
    }
}

impl Driver {
    /// An offer while he is on a trip: to be weighed if it is of what comes after that.
    pub fn weigh_next(&mut self, offer: Offer) {
        let carries =
            matches!(&self.doing, Doing::Carrying(job) if offer.after_trip == Some(job.trip));
        if !carries || !matches!(self.next, Next::Nothing) {
            add(&self.world.stats.totals.offers_while_busy);
            return;
        }
        let (answer, at) = self.make_up_his_mind();
        self.next = Next::Weighing { offer, answer, at };
    }

    /// What he will say to an offer, and when.
    pub fn make_up_his_mind(&mut self) -> (Answer, Instant) {
        let takes = self.rng.random_bool(self.world.args.acceptance);
        let answer = if takes { Answer::Accept } else { Answer::Decline };
        (answer, Instant::now() + self.world.args.think.draw(&mut self.rng))
    }

    /// Says what he made up his mind to, when it is time.
    pub async fn answer_next(&mut self, socket: &mut Socket) -> Result<(), Parting> {
        if !matches!(&self.next, Next::Weighing { at, .. } if *at <= Instant::now()) {
            return Ok(());
        }
        let Next::Weighing { offer, answer: says, .. } =
            std::mem::replace(&mut self.next, Next::Nothing)
        else {
            return Ok(());
        };
        let takes = says == Answer::Accept;
        let body = json!({"tripId": offer.trip_id, "action": says});
        let totals = &self.world.stats.totals;
        match socket.ask::<Value>("offer.respond", &body).await {
            Ok(_) if takes => self.next = Next::Promised(offer),
            Ok(_) => add(&totals.offers_declined),
            Err(failure @ (Failure::Lost(_) | Failure::TimedOut)) => {
                if takes {
                    self.next = Next::Unsure(offer);
                }
                return Err(Parting::Lost(failure));
            }
            Err(failure) => {
                if takes {
                    add(&totals.offers_lost);
                }
                self.mention(&failure);
            }
        }
        Ok(())
    }

    /// The rider has got out: off to the next one, if there is one.
    pub async fn drive_on(&mut self, socket: &mut Socket) -> Result<(), Parting> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => Ok(()),
            Next::Weighing { offer, answer, at } => {
                self.doing = Doing::Weighing { offer, answer, at };
                Ok(())
            }
            Next::Unsure(offer) | Next::Promised(offer) => {
                // It may have been called off meanwhile, and nobody told him: he didn't follow it.
                if self.is_his(offer.trip_id).await {
                    return self.take(socket, &offer).await;
                }
                Ok(())
            }
        }
    }

    /// Whether the server says that the trip is his and goes on.
    pub async fn is_his(&mut self, trip: Uuid) -> bool {
        let me = self.account.id;
        let view = self.view(trip).await;
        view.is_ok_and(|view| view.driver_id == Some(me) && !view.status.ended())
    }
}
