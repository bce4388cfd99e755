//! `smartline`: one program, its roles as subcommands.

use std::process::ExitCode;

use app::{AdminCommand, DataArgs, MigrateCommand, ServeArgs};
use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The real-time backend of a ride-hailing company.
///
/// `smartline serve` is a whole city: without any configuration it starts a private PostgreSQL in
/// ./data and listens on 127.0.0.1:8080.
#[derive(Parser)]
#[command(name = "smartline", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Run the server.
    Serve(Box<ServeArgs>),
    /// Bring the database's schema up or down, or show where it stands.
    Migrate {
        #[command(flatten)]
        data: DataArgs,
        #[command(subcommand)]
        command: MigrateCommand,
    },
    /// Operators' commands.
    Admin {
        #[command(flatten)]
        data: DataArgs,
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Print a contract document: openapi, asyncapi or refusals.
    Schema { document: app::Document },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.role {
        Role::Serve(args) => app::run_server(&args),
        Role::Migrate { data, command } => app::run_migrate(&data, &command),
        Role::Admin { data, command } => app::run_admin(&data, &command),
        Role::Schema { document } => app::print_document(document),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain from what was wanted to what went wrong, on one line.
            eprintln!("smartline: {error:#}");
            ExitCode::FAILURE
        }
    }
}
