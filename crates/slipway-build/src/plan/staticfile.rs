//! `Staticfile`: what a site of files is on platforms that read one, as settings below those of the owner.

use crate::tree::Tree;
use slipway_types::plan::Reason;
use slipway_types::settings::ServiceSettings;

pub(crate) const STATICFILE: &str = "Staticfile";

/// The settings with what the file says, where its owner says nothing; None without such a file.
pub(super) fn applied(tree: &Tree<'_>, settings: &ServiceSettings) -> Option<(ServiceSettings, Reason)> {
    let text = tree.text(STATICFILE)?;
    let mut settings = settings.clone();
    if let Some(root) = value(text, "root").filter(|root| !root.is_empty()) {
        settings.site_directory.get_or_insert_with(|| root.trim_matches('/').to_owned());
    }
    match value(text, "index_fallback") {
        Some("true") => drop(settings.site_fallback.get_or_insert_with(|| "index.html".to_owned())),
        Some("false") => drop(settings.site_fallback.get_or_insert_default()),
        _ => {}
    }
    let decided = "settings of `[site]` that `slipway.toml` leaves open".to_owned();
    Some((settings, Reason { decided, from: format!("`{}`", tree.path(STATICFILE)) }))
}

/// `key: value`, a line of its own.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix(':'))?;
    Some(line.trim().trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::listing;

    #[test]
    fn the_owner_wins_over_the_file() {
        let listing = listing(&[(STATICFILE, "root: hello\nindex_fallback: true\n")]);
        let tree = Tree::new(&listing, "");
        let (settings, _) = applied(&tree, &ServiceSettings::default()).unwrap();
        assert_eq!(settings.site_directory.as_deref(), Some("hello"));
        assert_eq!(settings.site_fallback.as_deref(), Some("index.html"));
        let said = ServiceSettings { site_directory: Some("out".into()), ..Default::default() };
        assert_eq!(applied(&tree, &said).unwrap().0.site_directory.as_deref(), Some("out"));
        assert!(applied(&Tree::new(&listing, "sub"), &said).is_none());
    }
}
