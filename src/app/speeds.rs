//! Reads the speed table that a scenario brings, plain or compressed.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use routing::SpeedTable;

/// The table of `table` over the zones of `zones`; none when neither is given.
pub(crate) fn load(
    table: Option<&Path>,
    zones: Option<&Path>,
    time_zone: &str,
) -> anyhow::Result<Option<SpeedTable>> {
    let (Some(table), Some(zones)) = (table, zones) else { return Ok(None) };
    let (speeds, places) = (read(table)?, read(zones)?);
    let parsed = SpeedTable::parse(&speeds, &places, time_zone)
        .with_context(|| format!("the speed table {} can't be read", table.display()))?;
    Ok(Some(parsed))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let file =
        std::fs::File::open(path).with_context(|| format!("can't open {}", path.display()))?;
    let mut text = String::new();
    let packed = path.extension().is_some_and(|e| e == "xz");
    let read = if packed {
        liblzma::read::XzDecoder::new(file).read_to_string(&mut text)
    } else {
        std::io::BufReader::new(file).read_to_string(&mut text)
    };
    read.with_context(|| format!("can't read {}", path.display()))?;
    Ok(text)
}
