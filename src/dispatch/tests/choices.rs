//! What operators chose: running searches follow, the newest choice counts, words are the
//! database's.

use std::collections::BTreeSet;

use base::{Caller, CityId, Role, SessionId, UserId};
use sqlx::postgres::PgConnection;
use storage::Who;
use uuid::Uuid;

use super::city::{Play, START, search, seen};
use crate::choice::store::{all, choice_in_tx, choose_in_tx};
use crate::choice::{Choice, Choices};
use crate::eligibility::Gate;
use crate::model::{Outcome, Search, Verdict};
use crate::strategy::Strategy;

const CITY: CityId = CityId(1);

#[test]
fn running_searches_follow_their_city_once_their_offers_have_ended() {
    let mut play = Play::new((1..=12).map(|n| seen(n, n as f64 * 100.0)).collect());
    assert_eq!(play.ask(1).tick(), "1: 1 2 3 4 5");
    play.board.choose(CITY, Strategy::Sequential);
    for number in [1, 2, 3, 4] {
        assert_eq!(play.at(1.0).end(number, Outcome::Declined).tick(), "", "one is still asked");
    }
    assert_eq!(play.at(2.0).end(5, Outcome::Expired).tick(), "1: 6");
    play.board.choose(CITY, Strategy::Batched);
    assert_eq!(play.at(3.0).tick(), "");
    let words = play.at(4.0).end(6, Outcome::Declined).tick();
    assert_eq!(words, "1: 7", "one is enough of those who say yes so often");
    play.board.choose(CITY, Strategy::FirstAccept);
    assert_eq!(play.at(5.0).end(7, Outcome::Lost).tick(), "1: 8 9 10 11 12");
}

#[test]
fn a_search_that_named_its_way_keeps_it() {
    let mut play = Play::new((1..=9).map(|n| seen(n, n as f64 * 100.0)).collect());
    let named = Search { strategy: Some(Strategy::FirstAccept), ..search(1, START) };
    play.board.choose(CITY, Strategy::Sequential);
    play.board.search(named, START);
    assert_eq!(play.ask(2).tick(), "1: 1 2 3 4 5, 2: 6");
}

#[test]
fn what_another_way_tried_does_not_wear_a_ring_out() {
    // Four noes of SEQUENTIAL would be more than FIRST_ACCEPT asks for before it looks farther.
    let mut drivers: Vec<_> = (1..=5).map(|n| seen(n, n as f64 * 100.0)).collect();
    drivers.push(seen(70, 7_000.0));
    let mut play = Play::new(drivers);
    play.board.choose(CITY, Strategy::Sequential);
    for number in 1..=4 {
        let words = if number == 1 { play.ask(1).tick() } else { play.tick() };
        assert_eq!(words, format!("1: {number}"));
        play.at(number as f64).end_all(Outcome::Declined);
    }
    play.board.choose(CITY, Strategy::FirstAccept);
    assert_eq!(play.tick(), "1: 5");
}

#[test]
fn the_newest_choice_counts() {
    let choices = Choices::default();
    let mut told = Vec::new();
    let mut adopt = |version: i32, strategy: Strategy| {
        let choice = Choice { strategy, version, ..Choice::usual(CITY) };
        choices.adopt(choice, |choice| told.push(choice.version));
    };
    assert_eq!(choices.of(CITY).strategy, Strategy::FirstAccept);
    adopt(2, Strategy::Batched);
    adopt(1, Strategy::Sequential);
    adopt(2, Strategy::Sequential);
    adopt(3, Strategy::FirstAccept);
    assert_eq!(choices.of(CITY).version, 3);
    assert_eq!(told, [2, 3]);
}

fn admin(user: UserId) -> Who {
    let (role, session) = (Role::Admin, SessionId::new());
    Who::Caller(Caller { user, role, session, expires: START })
}

#[tokio::test]
async fn an_admin_chooses_in_his_own_name_and_choices_count_up() {
    let db = storage::testing::database().await;
    let mut owner = storage::testing::owner(&db).await;
    let operator = UserId(Uuid::now_v7());
    sqlx::query(
        "INSERT INTO users (id, phone, name, role, password_hash)
         VALUES ($1, '+201000000009', 'N', 'admin', '-')",
    )
    .bind(operator.0)
    .execute(&mut owner)
    .await
    .expect("an admin");
    let choose = async |who: Who, strategy, allowed: Option<&[Strategy]>, by| {
        let mut tx = db.begin(&who).await.expect("a transaction");
        let choice = choose_in_tx(&mut tx, CITY, strategy, allowed, (by, START)).await?;
        tx.commit().await?;
        Ok::<_, base::Fault>(choice)
    };
    let first = choose(admin(operator), Strategy::Batched, None, operator).await;
    let first = first.expect("he may");
    assert_eq!((first.version, first.allowed.as_slice()), (1, &[][..]));
    let both = [Strategy::FirstAccept, Strategy::Sequential];
    choose(admin(operator), Strategy::Batched, Some(&both), operator).await.expect("he may");
    let third = choose(admin(operator), Strategy::Sequential, None, operator).await;
    let third = third.expect("he may");
    assert_eq!((third.version, third.allowed.as_slice()), (3, &both[..]));
    assert!(third.allows(Strategy::Sequential) && !third.allows(Strategy::Batched));
    let other = UserId(Uuid::now_v7());
    choose(admin(operator), Strategy::Batched, None, other).await.expect_err("another's name");
    choose(Who::System, Strategy::Batched, None, operator).await.expect_err("no admin");
    assert_eq!(all(&db).await.expect("they are read"), std::slice::from_ref(&third));
    let mut tx = db.begin(&admin(operator)).await.expect("a transaction");
    assert_eq!(choice_in_tx(&mut tx, CITY).await.expect("it is read"), third);
    let usual = choice_in_tx(&mut tx, CityId(2)).await.expect("it is read");
    assert_eq!(usual, Choice::usual(CityId(2)));
}

/// The words in a constraint's list.
async fn words_of(owner: &mut PgConnection, constraint: &str) -> BTreeSet<String> {
    let sql = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = $1";
    let text: String = sqlx::query_scalar(sql)
        .bind(constraint)
        .fetch_one(owner)
        .await
        .unwrap_or_else(|error| panic!("{constraint}: {error}"));
    text.split('\'').skip(1).step_by(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_words_of_the_program_are_those_that_the_database_takes() {
    let db = storage::testing::database().await;
    let mut owner = storage::testing::owner(&db).await;
    let chosen = Strategy::ALL.iter().filter(|one| one.is_chosen());
    let strategies: Vec<&str> = chosen.map(|one| one.name()).collect();
    let ahead = Strategy::Scheduled.name();
    let with = |more: &[&'static str]| [strategies.as_slice(), more].concat();
    use Verdict::{BehindQueue, NotScored, Offered, Ranked, TooFar};
    let verdicts = [Offered, Ranked, TooFar, NotScored, BehindQueue];
    let verdicts = verdicts.into_iter().chain(Gate::ALL.map(Verdict::Barred));
    let outcomes = Outcome::ALL.iter().map(|outcome| outcome.name()).chain(["pending"]);
    let lists = [
        ("city_strategy_is_known", with(&[])),
        ("shadow_strategy_is_known", with(&[])),
        ("allowed_strategies_are_known", with(&[])),
        ("trip_strategy_is_known", with(&[Strategy::OF_CITY, ahead])),
        ("verdict_is_known", verdicts.map(Verdict::name).collect()),
        ("offer_status_is_known", outcomes.collect()),
    ];
    for (constraint, ours) in lists {
        let ours: BTreeSet<String> = ours.into_iter().map(str::to_owned).collect();
        assert_eq!(words_of(&mut owner, constraint).await, ours, "{constraint}");
    }
}
