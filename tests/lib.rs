//! The tests that need more than one room: `it` (a real server, real sockets, real PostgreSQL) and
//! `tidy` (the house rules). Unit tests stand beside what they test.
