//! Room on the node: the less something matters, the sooner it is refused. Nothing ever queues.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::policy::Importance;

impl Importance {
    /// How full the node may be for it, of a hundred.
    const fn share(self) -> usize {
        match self {
            Self::Low => 50,
            Self::Normal => 80,
            Self::High => 100,
        }
    }
}

/// Requests that are being answered.
pub(crate) struct Load {
    capacity: usize,
    busy: AtomicUsize,
}

/// A place; given back when dropped.
pub(crate) struct Place<'a>(&'a Load);

impl Load {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self { capacity, busy: AtomicUsize::new(0) }
    }

    /// A place for a request, unless the node is too full for what it is worth.
    pub(crate) fn enter(&self, importance: Importance) -> Option<Place<'_>> {
        let room = self.capacity * importance.share() / 100;
        let entered = self.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |busy| {
            (busy < room).then_some(busy + 1)
        });
        entered.is_ok().then(|| Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_it_matters_the_sooner_it_is_refused() {
        let load = Load::new(10);
        let mut held = Vec::new();
        for (importance, full_at) in
            [(Importance::Low, 5), (Importance::Normal, 8), (Importance::High, 10)]
        {
            while let Some(place) = load.enter(importance) {
                held.push(place);
            }
            assert_eq!(held.len(), full_at, "{importance:?}");
        }
        held.truncate(8);
        assert!(load.enter(Importance::Normal).is_none());
        assert!(load.enter(Importance::High).is_some());
    }
}
