//! How many of something one address may hold at once.

use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::Counted;

/// Holders by address. Cheap to clone.
#[derive(Clone)]
pub struct Crowd {
    most: Option<usize>,
    held: Arc<DashMap<Counted, usize>>,
}

/// One of them; given back when dropped.
pub struct Seat {
    who: Counted,
    held: Arc<DashMap<Counted, usize>>,
}

impl Crowd {
    /// At most `most` for each address; any number without it.
    pub fn new(most: Option<usize>) -> Self {
        Self { most, held: Arc::default() }
    }

    /// `None`: this address holds as many as it may.
    pub fn enter(&self, who: Counted) -> Option<Seat> {
        let most = self.most.unwrap_or(usize::MAX);
        let mut held = self.held.entry(who).or_insert(0);
        if *held >= most {
            return None;
        }
        *held += 1;
        drop(held);
        Some(Seat { who, held: Arc::clone(&self.held) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Entry::Occupied(mut held) = self.held.entry(self.who) {
            match held.get() {
                0 | 1 => drop(held.remove()),
                _ => *held.get_mut() -= 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base::UserId;

    use super::*;

    const ALI: Counted = Counted::User(UserId::from_u128(1));
    const MONA: Counted = Counted::User(UserId::from_u128(2));

    #[test]
    fn who_holds_many_leaves_the_others_theirs() {
        let crowd = Crowd::new(Some(2));
        let seats: Vec<_> = (0..5).filter_map(|_| crowd.enter(ALI)).collect();
        assert_eq!(seats.len(), 2);
        assert!(crowd.enter(MONA).is_some());
        drop(seats);
        assert!(crowd.enter(ALI).is_some());
        assert!(crowd.held.is_empty(), "who holds none is forgotten");
    }

    #[test]
    fn without_a_limit_all_come_in() {
        let crowd = Crowd::new(None);
        let seats: Vec<_> = (0..5000).filter_map(|_| crowd.enter(ALI)).collect();
        assert_eq!(seats.len(), 5000);
    }
}
