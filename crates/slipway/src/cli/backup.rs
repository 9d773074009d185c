//! `backup` and `restore`: what is asked, and what is said of it.

use super::args::GlobalOptions;
use crate::backup::{self, Header};
use crate::failure::Failure;
use crate::output;
use crate::render::bytes;
use crate::server::Places;
use std::path::{Path, PathBuf};

pub(super) async fn take(
    global: &GlobalOptions,
    file: &Path,
    with_layers: bool,
    config: Option<PathBuf>,
) -> Result<(), Failure> {
    let places = Places::find(global, config)?;
    let taken = Box::pin(backup::take(&places, file, with_layers)).await?;
    if global.json {
        return output::json(&taken);
    }
    let layers = match with_layers {
        true => format!("{} layers", taken.layers),
        false => "no layers".to_owned(),
    };
    let (data, written) = (bytes(taken.data_bytes), bytes(taken.file_bytes));
    output::say(&format!(
        "backed up `{}`: schema {}, {} uploads, {layers}; {written} in `{}` ({data} unpacked)",
        places.data_dir.display(),
        taken.header.schema,
        taken.uploads,
        file.display()
    ));
    note_missing(&taken.header);
    Ok(())
}

pub(super) async fn restore(
    global: &GlobalOptions,
    file: &Path,
    check: bool,
    config: Option<PathBuf>,
) -> Result<(), Failure> {
    let places = if check { None } else { Some(Places::find(global, config)?) };
    let restored = Box::pin(backup::restore(file, places.as_ref())).await?;
    if global.json {
        return output::json(&restored);
    }
    let what = format!(
        "schema {}, {} services, {} layers, made by version {}",
        restored.header.schema, restored.services, restored.layers, restored.header.version
    );
    match &places {
        None => output::say(&format!("`{}` is whole: {what}", file.display())),
        Some(places) => {
            output::say(&format!("restored `{}`: {what}", places.data_dir.display()));
            if restored.has_config {
                let config = places.data_dir.join("slipway-server.toml");
                output::say(&format!("the server's configuration is in `{}`: put it into place", config.display()));
            }
        }
    }
    note_missing(&restored.header);
    Ok(())
}

fn note_missing(header: &Header) {
    if !header.with_layers {
        output::say("without layers nothing that is live can start: deploy again, or have them in a cold tier");
    } else if !header.missing.is_empty() {
        let missing = header.missing.join("`, `");
        output::say(&format!("not on the disk, and so not in the backup: `{missing}`"));
    }
}
