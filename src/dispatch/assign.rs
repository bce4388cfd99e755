//! Solves who is best given to whom: the cheapest assignment of rows to columns over few candidates
//! a row, where a row may also stay without one at a price.
//!
//! Jonker and Volgenant's shortest augmenting paths (LAPJV's third phase), over lists of candidates
//! instead of a dense matrix: a search that has 15 candidates is no wider than that, however many
//! drivers a city has. Costs are whole numbers, so sums are exact and two machines agree. Knows
//! nothing of searches and drivers.
//!
//! Guarantees:
//! - no other choice is cheaper (test: `no_other_choice_is_cheaper`);
//! - a column goes to one row at most; the same input gives the same answer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A column that a row may have, and what that costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) column: usize,
    pub(crate) cost: i64,
}

/// A row: what it may have, each column once, and what it costs to have nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) edges: Vec<Edge>,
    pub(crate) without: i64,
}

/// For each row the place of the edge that it gets, or none.
pub(crate) fn assign(rows: &[Row], columns: usize) -> Vec<Option<usize>> {
    let mut solver = Solver::new(rows, columns);
    for row in 0..rows.len() {
        solver.augment(row);
    }
    solver.taken
}

struct Solver<'a> {
    rows: &'a [Row],
    /// Columns that rows share; behind them each row has one of its own, which is "nothing".
    shared: usize,
    /// What a column costs beyond its edges because others want it: the dual of the problem.
    price: Vec<i64>,
    holder: Vec<Option<usize>>,
    /// The edge each row has, none for its own column.
    taken: Vec<Option<usize>>,
    /// Shortest way to each column in the round under way, and the row that leads to it.
    way: Vec<Way>,
    touched: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Way {
    cost: i64,
    from: usize,
    /// The place of the edge among the row's, none for its own column.
    edge: Option<usize>,
    closed: bool,
}

const UNSEEN: Way = Way { cost: i64::MAX, from: usize::MAX, edge: None, closed: false };

impl<'a> Solver<'a> {
    fn new(rows: &'a [Row], shared: usize) -> Self {
        let columns = shared + rows.len();
        Self {
            rows,
            shared,
            price: vec![0; columns],
            holder: vec![None; columns],
            taken: vec![None; rows.len()],
            way: vec![UNSEEN; columns],
            touched: Vec::new(),
        }
    }

    /// Gives `row` a column; those who held one on the way move on to the next.
    fn augment(&mut self, row: usize) {
        let mut heap = BinaryHeap::new();
        self.relax(row, 0, &mut heap);
        let free = loop {
            // The row's own column is free and always open, so the search ends.
            let Some(Reverse((cost, column))) = heap.pop() else { return };
            if self.way[column].closed || cost > self.way[column].cost {
                continue;
            }
            self.way[column].closed = true;
            let Some(holder) = self.holder[column] else { break column };
            // What the holder pays for what he has is where his alternatives begin.
            let base = cost - (self.cost_of_taken(holder) - self.price[column]);
            self.relax(holder, base, &mut heap);
        };
        let shortest = self.way[free].cost;
        for &column in &self.touched {
            let way = self.way[column];
            if way.closed && way.cost < shortest {
                self.price[column] += way.cost - shortest;
            }
        }
        self.hand_over(row, free);
        for column in self.touched.drain(..) {
            self.way[column] = UNSEEN;
        }
    }

    fn relax(&mut self, row: usize, base: i64, heap: &mut BinaryHeap<Reverse<(i64, usize)>>) {
        let Row { edges, without } = &self.rows[row];
        let own = (self.shared + row, *without, None);
        let shared = edges.iter().enumerate().map(|(at, edge)| (edge.column, edge.cost, Some(at)));
        for (column, cost, edge) in shared.chain([own]) {
            let cost = base + cost - self.price[column];
            let way = &mut self.way[column];
            if cost < way.cost && !way.closed {
                if way.cost == i64::MAX {
                    self.touched.push(column);
                }
                *way = Way { cost, from: row, edge, closed: false };
                heap.push(Reverse((cost, column)));
            }
        }
    }

    fn cost_of_taken(&self, row: usize) -> i64 {
        self.taken[row].map_or(self.rows[row].without, |edge| self.rows[row].edges[edge].cost)
    }

    /// Walks back from the free column to the row that began, giving each its new column.
    fn hand_over(&mut self, row: usize, free: usize) {
        let mut column = free;
        loop {
            let Way { from, edge, .. } = self.way[column];
            let before = match self.taken[from] {
                _ if from == row => None,
                Some(edge) => Some(self.rows[from].edges[edge].column),
                None => Some(self.shared + from),
            };
            self.holder[column] = Some(from);
            self.taken[from] = edge;
            let Some(before) = before else { return };
            column = before;
        }
    }
}
