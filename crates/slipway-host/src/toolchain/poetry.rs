//! Poetry: a program written in Python that runs on the base system's. uv installs it, with all that it needs, for that
//! Python, whatever stands on this machine.

use super::copy::{self, Moved};
use super::{Tool, ToolchainError, Toolchains, Work, version};
use crate::archive::make_directories;
use crate::blocking;
use crate::process::LineSink;
use slipway_types::agent::Stream;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Of the image; Poetry with what it needs is 60 MB.
const LAYER_BYTES: u64 = 512 << 20;
/// What the layer is for: that of Debian's bookworm and everything newer.
const PLATFORM: &str = "manylinux_2_36";

impl Toolchains {
    /// `range`: `*`, an exact version, or its beginning (`2`, `1.8`).
    pub(super) async fn ensure_poetry(
        &self,
        range: &str,
        work: &Work<'_, impl LineSink>,
    ) -> Result<Tool, ToolchainError> {
        let base = self.base_python().await?.ok_or_else(|| ToolchainError::Unavailable {
            what: "poetry".to_owned(),
            why: "the base system has no Python to run it on".to_owned(),
        })?;
        let minor = version::minor(&base);
        // Its compiled parts are for one Python.
        let name = format!("poetry-py{minor}");
        let at_hand = match version::exact(range) {
            Some(version) => {
                Some(Tool { name: name.clone(), version }).filter(|tool| self.store.contains(&tool.layer()))
            }
            None => self.newest_at_hand(&name, range),
        };
        if let Some(tool) = at_hand {
            return Ok(tool);
        }
        let _alone = self.catalog_locks.lock(&name).await;
        work.sink.line(Stream::Stdout, "fetching poetry from the Python package index".to_owned()).await;
        let fetched = work.scratch.join("poetry");
        let requirement = requirement(range)?;
        let platform = format!("{}-{PLATFORM}", std::env::consts::ARCH);
        let target = fetched.display().to_string();
        let args = ["pip", "install", "--quiet", "--only-binary", ":all:", "--python-version", &minor];
        let args = args.into_iter().chain(["--python-platform", &platform, "--target", &target, &requirement]);
        let args: Vec<String> = args.map(str::to_owned).collect();
        self.run_uv(&args, &requirement, work).await?;
        let tool = Tool { name, version: installed_version(&fetched)? };
        let (store, layer) = (self.store.clone(), tool.clone());
        blocking(move || {
            store.write_layer(&layer.layer(), LAYER_BYTES, |root| place(&fetched, root, &layer))?;
            fs::remove_dir_all(&fetched).map_err(|source| ToolchainError::Disk { path: fetched, source })
        })
        .await?;
        Ok(tool)
    }
}

/// As the index's clients want it: `poetry==1.8.*`.
fn requirement(range: &str) -> Result<String, ToolchainError> {
    let range = range.trim();
    if let Some(version) = version::exact(range) {
        return Ok(format!("poetry=={version}"));
    }
    if range.is_empty() || range == "*" {
        return Ok("poetry".to_owned());
    }
    if range.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())) {
        return Ok(format!("poetry=={range}.*"));
    }
    Err(ToolchainError::Version { tool: "Poetry".to_owned(), range: range.to_owned(), near: Vec::new() })
}

fn installed_version(fetched: &Path) -> Result<String, ToolchainError> {
    let entries = fs::read_dir(fetched).map_err(|source| ToolchainError::Disk { path: fetched.to_owned(), source })?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut versions =
        names.filter_map(|name| Some(name.strip_prefix("poetry-")?.strip_suffix(".dist-info")?.to_owned()));
    versions.next().ok_or_else(|| ToolchainError::Answer { from: "the package of poetry".to_owned() })
}

fn place(fetched: &Path, root: &Path, tool: &Tool) -> Result<(), ToolchainError> {
    let (library, bin) = (tool.directory().join("lib"), tool.directory().join("bin"));
    make_directories(root, &library)?;
    make_directories(root, &bin)?;
    let moved = Moved { from: fetched.display().to_string(), to: format!("/{}", library.display()) };
    copy::tree(fetched, &root.join(&library), &moved)?;
    let path = root.join(&bin).join("poetry");
    let launcher = format!(
        "#!/usr/bin/python3 -I\nimport sys\nsys.path.insert(0, \"/{}\")\nfrom poetry.console.application import main\nsys.exit(main())\n",
        library.display()
    );
    let written =
        fs::write(&path, launcher).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
    written.map_err(|source| ToolchainError::Disk { path, source })
}

#[cfg(test)]
mod tests {
    use super::requirement;

    #[test]
    fn ranges_become_requirements() {
        for (range, expected) in
            [("*", "poetry"), ("2", "poetry==2.*"), ("1.8", "poetry==1.8.*"), ("2.1.3", "poetry==2.1.3")]
        {
            assert_eq!(requirement(range).unwrap(), expected);
        }
        assert_eq!(requirement(">=2 ; x").unwrap_err().code(), "version-unavailable");
    }
}
