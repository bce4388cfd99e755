//! Slots: what the index keeps per moving thing, 32 bytes, in chunks that never move.

use base::Millis;

use crate::fixed::Fixed;
use crate::scale::CHUNK;
use crate::sync::{AtomicI64, AtomicU16, AtomicU64, Mutex, MutexGuard, OnceLock, Ordering};
use crate::tile::TileKey;

const NOWHERE: u64 = u64::MAX;

/// One moving thing. The lock guards `home`, `position` and `heard` together: whoever writes one of
/// them holds it, so a position is always inside the loose box of the home tile. Who reads one of
/// them needs no lock, who reads several as one truth does. `class` stands for itself.
#[repr(align(32))]
pub(crate) struct Slot {
    position: AtomicU64,
    home: AtomicU64,
    heard: AtomicI64,
    class: AtomicU16,
    lock: Mutex<()>,
}

/// What a question asks of a slot.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    pub(crate) at: Fixed,
    pub(crate) heard: Millis,
    pub(crate) class: u16,
}

impl Slot {
    const fn empty() -> Self {
        Self {
            position: AtomicU64::new(0),
            home: AtomicU64::new(NOWHERE),
            heard: AtomicI64::new(i64::MIN),
            class: AtomicU16::new(0),
            lock: Mutex::new(()),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock()
    }

    pub(crate) fn home(&self) -> Option<TileKey> {
        let bits = self.home.load(Ordering::Acquire);
        (bits != NOWHERE).then(|| TileKey::from_bits(bits))
    }

    pub(crate) fn set_home(&self, key: Option<TileKey>) {
        self.home.store(key.map_or(NOWHERE, TileKey::bits), Ordering::Release);
    }

    pub(crate) fn position(&self) -> Fixed {
        Fixed::unpack(self.position.load(Ordering::Acquire))
    }

    /// The caller holds the lock.
    pub(crate) fn place(&self, at: Fixed, heard: Millis) {
        self.position.store(at.pack(), Ordering::Release);
        self.heard.store(heard.0, Ordering::Release);
    }

    /// Each part was so at some moment of the call, not all at once: good for turning a slot away.
    pub(crate) fn glance(&self) -> Seen {
        Seen {
            at: self.position(),
            heard: Millis(self.heard.load(Ordering::Acquire)),
            class: self.class.load(Ordering::Acquire),
        }
    }

    /// All of it was so at one moment.
    pub(crate) fn seen(&self) -> Seen {
        let _held = self.lock();
        self.glance()
    }

    pub(crate) fn set_class(&self, class: u16) {
        self.class.store(class, Ordering::Release);
    }
}

/// All slots, made chunk by chunk when first used.
pub(crate) struct Slots {
    chunks: Box<[OnceLock<Box<[Slot]>>]>,
}

impl Slots {
    pub(crate) fn with_capacity(slots: usize) -> Self {
        Self { chunks: (0..slots.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect() }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// Makes the slot's chunk when it is the first of it.
    pub(crate) fn at(&self, slot: u32) -> &Slot {
        let chunk = &self.chunks[slot as usize / CHUNK];
        let made = chunk.get_or_init(|| (0..CHUNK).map(|_| Slot::empty()).collect());
        &made[slot as usize % CHUNK]
    }
}
