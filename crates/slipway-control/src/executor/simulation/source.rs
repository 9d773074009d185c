//! What the apps of the simulated people are made of.

use slipway_types::SourceSpec;
use slipway_types::source::GitSource;

pub(super) fn spec() -> SourceSpec {
    SourceSpec::Git(GitSource { url: "https://git.example.org/shop.git".to_owned(), reference: None, credential: None })
}
