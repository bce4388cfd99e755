//! The node's phase and the state of what it depends on, for `/health/*`.
//!
//! A node that lost its database still serves the sockets it holds, so losing a dependency degrades
//! readiness only where the caller asks for `strict`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Starting,
    Serving,
    Draining,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dependency {
    Up,
    /// It does its work, with less than it should.
    Degraded,
    Down,
}

/// Shared view of the node's health. Cheap to clone.
#[derive(Clone)]
pub struct Health(Arc<RwLock<Inner>>);

struct Inner {
    phase: Phase,
    dependencies: BTreeMap<&'static str, Dependency>,
}

impl Default for Health {
    fn default() -> Self {
        let inner = Inner { phase: Phase::Starting, dependencies: BTreeMap::new() };
        Self(Arc::new(RwLock::new(inner)))
    }
}

impl Health {
    pub fn phase(&self) -> Phase {
        self.0.read().phase
    }

    pub fn enter(&self, phase: Phase) {
        self.0.write().phase = phase;
    }

    pub fn report(&self, name: &'static str, state: Dependency) {
        self.0.write().dependencies.insert(name, state);
    }

    pub fn dependencies(&self) -> BTreeMap<&'static str, Dependency> {
        self.0.read().dependencies.clone()
    }

    /// Can this node serve the sockets it holds?
    pub fn ready(&self) -> bool {
        self.phase() == Phase::Serving
    }

    /// Ready, and everything it depends on answers.
    pub fn ready_strict(&self) -> bool {
        let inner = self.0.read();
        inner.phase == Phase::Serving && inner.dependencies.values().all(|d| *d != Dependency::Down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losing_the_database_fails_only_the_strict_question() {
        let health = Health::default();
        assert!(!health.ready());
        health.enter(Phase::Serving);
        health.report("postgresql", Dependency::Up);
        assert!(health.ready() && health.ready_strict());
        health.report("matching", Dependency::Degraded);
        assert!(health.ready() && health.ready_strict());
        health.report("postgresql", Dependency::Down);
        assert!(health.ready() && !health.ready_strict());
        health.enter(Phase::Draining);
        assert!(!health.ready());
    }
}
