//! The assignment against every other choice.

use proptest::prelude::*;

use crate::assign::{Edge, Row, assign};

/// What a choice costs, after checking that no column is given twice.
fn cost(rows: &[Row], taken: &[Option<usize>]) -> i64 {
    let mut columns: Vec<usize> = Vec::new();
    let mut sum = 0;
    for (row, taken) in rows.iter().zip(taken) {
        let Some(edge) = taken.map(|at| row.edges[at]) else {
            sum += row.without;
            continue;
        };
        assert!(!columns.contains(&edge.column), "column {} goes to two rows", edge.column);
        columns.push(edge.column);
        sum += edge.cost;
    }
    sum
}

/// The cheapest of all choices, tried one by one.
fn cheapest(rows: &[Row], used: &mut Vec<usize>) -> i64 {
    let Some((row, rest)) = rows.split_first() else { return 0 };
    let mut best = row.without + cheapest(rest, used);
    for edge in &row.edges {
        if !used.contains(&edge.column) {
            used.push(edge.column);
            best = best.min(edge.cost + cheapest(rest, used));
            used.pop();
        }
    }
    best
}

fn row(columns: usize) -> impl Strategy<Value = Row> {
    let edge = prop::option::weighted(0.6, -50_i64..400);
    (prop::collection::vec(edge, columns), 0_i64..300).prop_map(|(costs, without)| {
        let edges = costs.into_iter().enumerate();
        let edges = edges.filter_map(|(column, cost)| cost.map(|cost| Edge { column, cost }));
        Row { edges: edges.collect(), without }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn no_other_choice_is_cheaper(
        rows in (1_usize..6).prop_flat_map(|columns| prop::collection::vec(row(columns), 1..7)),
    ) {
        let columns = 6;
        let taken = assign(&rows, columns);
        prop_assert_eq!(cost(&rows, &taken), cheapest(&rows, &mut Vec::new()));
        prop_assert_eq!(assign(&rows, columns), taken);
    }
}

fn check(rows: &[(&[(usize, i64)], i64)], columns: usize, expected: &[Option<usize>]) {
    let row = |(edges, without): &(&[(usize, i64)], i64)| Row {
        edges: edges.iter().map(|&(column, cost)| Edge { column, cost }).collect(),
        without: *without,
    };
    let rows: Vec<Row> = rows.iter().map(row).collect();
    assert_eq!(assign(&rows, columns), expected);
}

#[test]
fn the_second_best_is_taken_where_it_helps_both() {
    check(&[], 0, &[]);
    check(&[(&[], 5)], 0, &[None]);
    // Greedy would give column 0 to the first row and leave the second with 90.
    check(&[(&[(0, 10), (1, 20)], 99), (&[(0, 15), (1, 90)], 99)], 2, &[Some(1), Some(0)]);
    // One column, three rows: to whom it saves most.
    check(&[(&[(0, 50)], 60), (&[(0, 10)], 60), (&[(0, 5)], 30)], 1, &[None, Some(0), None]);
    // Nothing is better than a driver who costs more than he is worth.
    check(&[(&[(0, 61)], 60)], 1, &[None]);
    // Equal costs: the earlier row keeps the earlier column, every time.
    check(&[(&[(0, 7), (1, 7)], 9), (&[(0, 7), (1, 7)], 9)], 2, &[Some(0), Some(1)]);
}
