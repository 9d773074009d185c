//! Whatever a layer's tree holds: save → archive → fetch → mount gives it back, byte for byte.

use crate::setup::{MIB, Setup, archive, layer};
use crate::tree;
use slipway_layers::image::{self, ReadOnly};
use slipway_layers::{Ensured, LayerError};

/// Each grows another tree. A failure names the seed.
const SEEDS: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn every_tree_comes_back_from_the_cold_tier_as_it_was() {
    let setup = Setup::new();
    let (one, other) = (setup.host("one"), setup.host("other"));
    let at = setup.dir.path().join("at");
    for seed in 1..=SEEDS {
        let tree = layer(&format!("tree-{seed}"));
        let fill = |root: &std::path::Path| {
            tree::grow(root, seed);
            Ok::<(), LayerError>(())
        };
        one.store().write_layer(&tree, (48 + 16 * seed) * MIB, fill).unwrap();
        one.store().sync(&tree).unwrap();
        archive(&one, &[&tree]).await;
        assert!(matches!(other.ensure(&tree).await, Ensured::Fetched { .. }), "seed {seed}");
        let images = [&one, &other].map(|host| std::fs::read(host.store().path(&tree)).unwrap());
        assert!(images[0] == images[1], "seed {seed}: the images are equal");
        let [before, after] = [&one, &other].map(|host| {
            let mounted = image::mount(&host.store().path(&tree), &at, ReadOnly).unwrap();
            let seen = tree::look(&mounted.upper());
            mounted.unmount().unwrap();
            seen
        });
        assert!(before.len() > 200, "seed {seed}: {} names", before.len());
        for (name, seen) in &before {
            let name = String::from_utf8_lossy(name);
            assert_eq!(after.get(name.as_bytes()).unwrap_or(seen), seen, "seed {seed}: {name}");
        }
        assert!(before == after, "seed {seed}");
    }
}
