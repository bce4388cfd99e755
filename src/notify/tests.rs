//! Claims about notifications: the plan by table, the texts by table, the clients against
//! stand-ins that check what they receive, the desk against a real database.

mod desk;
mod jobs;
mod plan;
mod providers;
mod reports;
mod stand;
mod standins;
mod texts;
