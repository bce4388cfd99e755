//! Claims about rules, by tables, and about cases, on a real PostgreSQL.

mod cases;
mod driving;
mod tables;
mod tracks;
