//! Finds the database, brings its schema up to date, opens the pools.
//!
//! Without DATABASE_URL a private PostgreSQL is started in the data directory; when another
//! `smartline` runs one there already, operators' commands use that one.

use anyhow::Context;
use secrecy::ExposeSecret;
use storage::{Address, Cluster, ClusterError, ClusterOptions, Db, PoolLimits, Via};

use crate::config::{DataArgs, Secrets};

/// An open database, and the private cluster when this process runs it.
pub struct Database {
    pub db: Db,
    pub cluster: Option<Cluster>,
}

impl Database {
    pub async fn close(self) -> anyhow::Result<()> {
        self.db.close().await;
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
        Ok(())
    }
}

/// Where the database is, for requests and for migrations.
pub(crate) struct Place {
    /// As the pools log in.
    pub address: Address,
    /// As the owner, straight to the server.
    pub owner: Address,
    pub cluster: Option<Cluster>,
}

/// Opens the database with its schema up to date.
pub(crate) async fn open_database(data: &DataArgs, secrets: &Secrets) -> anyhow::Result<Database> {
    let place = find_database(data, secrets).await?;
    storage::migrate(&place.owner, place.address.login())
        .await
        .context("the schema could not be brought up to date")?;
    let db = storage::connect(&place.address, &PoolLimits::default())
        .await
        .context("the database doesn't answer")?
        .with_direct(&place.owner);
    Ok(Database { db, cluster: place.cluster })
}

pub(crate) async fn find_database(data: &DataArgs, secrets: &Secrets) -> anyhow::Result<Place> {
    let Some(url) = &secrets.database_url else { return private_cluster(data).await };
    // With a direct address beside it the first one is taken for a transaction pooler.
    let (via, direct) = match &secrets.database_direct_url {
        Some(direct) => (Via::Pooler, direct),
        None => (Via::Direct, url),
    };
    let address = Address::parse(url.expose_secret(), via).context("DATABASE_URL")?;
    let owner =
        Address::parse(direct.expose_secret(), Via::Direct).context("DATABASE_DIRECT_URL")?;
    Ok(Place { address, owner, cluster: None })
}

async fn private_cluster(data: &DataArgs) -> anyhow::Result<Place> {
    let options =
        ClusterOptions { binaries: data.pg_bin.clone(), ..ClusterOptions::new(&data.data_dir) };
    match Cluster::start(&options).await {
        Ok(cluster) => {
            let (address, owner) = (cluster.address(), cluster.owner());
            Ok(Place { address, owner, cluster: Some(cluster) })
        }
        Err(ClusterError::InUse { .. }) => {
            let (address, owner) = Cluster::reach(&data.data_dir)?;
            Ok(Place { address, owner, cluster: None })
        }
        Err(error) => Err(error.into()),
    }
}
