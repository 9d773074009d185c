//! `debug`: what is said of a bundle that was written.

use super::args::GlobalOptions;
use crate::debug;
use crate::failure::Failure;
use crate::output;
use crate::render::bytes;
use std::path::PathBuf;

pub(super) async fn bundle(
    global: &GlobalOptions,
    config: Option<PathBuf>,
    file: Option<PathBuf>,
) -> Result<(), Failure> {
    let bundle = Box::pin(debug::bundle(global, config, file)).await?;
    if global.json {
        return output::json(&bundle);
    }
    output::say(&format!("wrote `{}`: {} parts, {}", bundle.file.display(), bundle.parts, bytes(bundle.bytes)));
    for missing in &bundle.missing {
        output::say(&format!("left out {}", output::printable(missing)));
    }
    output::say(
        "values of variables are not in it, known credentials are hidden; look through it before you give it away",
    );
    Ok(())
}
