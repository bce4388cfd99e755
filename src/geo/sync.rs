//! Locks and atomics of the index, named in one place so that the model check can put in its own.

pub(crate) use std::sync::OnceLock;
pub(crate) use std::sync::atomic::{AtomicI64, AtomicU16, AtomicU64, AtomicUsize, Ordering};

pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
