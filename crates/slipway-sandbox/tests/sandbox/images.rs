//! What is kept of what a sandbox wrote.

use crate::drivers::Place;
use crate::machine::{run, run_as_root};
use slipway_layers::LayerDigest;
use slipway_sandbox::CacheSpec;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub(crate) async fn a_kept_image_is_a_layer_and_lower_layers_stay_as_they_were(place: Place) {
    let machine = place.machine().await;
    let mut spec = machine.spec("images-1");
    spec.writable.keep = true;
    let (kept, layers) = (spec.writable.image.clone(), spec.layers.clone());
    let before = LayerDigest::of_image(&layers[0]).unwrap();
    let sandbox = machine.sandboxes.boot(spec).await.unwrap();
    let script = "echo changed > /etc/base-file && echo new > /etc/new-file && echo x > /tmp/garbage && rm /bin/ln && \
                  [ ! -e /bin/ln ]";
    assert_eq!(run_as_root(&sandbox, script).await.facts.code, Some(0));
    let running = "(while :; do echo x >> /app/log; done) > /dev/null 2>&1 &";
    let writing = format!("{running} until [ -s /app/log ]; do sleep 0.01; done; echo writing");
    assert_eq!(run(&sandbox, &writing).await.stdout, "writing\n");
    sandbox.stop(Duration::ZERO).await.unwrap();

    // It is whole and clean, whoever was writing when it ended.
    let check = Command::new("e2fsck").args(["-f", "-n"]).arg(&kept).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    assert_eq!(names_in(&kept, "/upper"), ["app", "bin", "etc"], "nothing of the sandbox's own is in the layer");
    assert_eq!(LayerDigest::of_image(&layers[0]).unwrap(), before);

    let mut above = machine.spec("images-2");
    above.layers = vec![layers[0].clone(), kept.clone()];
    let sandbox = machine.sandboxes.boot(above).await.unwrap();
    let seen = run(&sandbox, "cat /etc/base-file /etc/new-file; ls /tmp; ls /bin/ln 2>/dev/null; ls /app").await;
    assert_eq!(seen.stdout, "changed\nnew\nlog\n");
    machine.end(&[&sandbox]).await;
}

/// Without a mount: what a machine wrote is never mounted here.
fn names_in(image: &Path, directory: &str) -> Vec<String> {
    let listed = Command::new("debugfs").args(["-R", &format!("ls -p {directory}")]).arg(image).output().unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    // `/inode/mode/user/group/name/size/`
    let names = text.lines().filter_map(|line| line.split('/').nth(5)).filter(|name| !matches!(*name, "" | "." | ".."));
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names
}

pub(crate) async fn a_cache_outlives_its_sandbox(place: Place) {
    let machine = place.machine().await;
    let target = "/app/web/.next/cache";
    for (id, command) in
        [("images-3", "echo kept > /app/web/.next/cache/x"), ("images-4", "cat /app/web/.next/cache/x; ls /opt/c")]
    {
        let mut spec = machine.spec(id);
        let image = machine.dir.path().join("cache.img");
        spec.cache = Some(CacheSpec { image, bytes: 16 << 20, targets: vec![target.to_owned(), "/opt/c".to_owned()] });
        let sandbox = machine.sandboxes.boot(spec).await.unwrap();
        // Its parents belong to the app too: the build writes beside its cache.
        let done = run(&sandbox, &format!("{command}; echo y > /app/web/.next/beside; echo $?")).await;
        assert!(done.stdout.ends_with("0\n"), "{done:?}");
        assert_eq!(done.stdout.contains("kept"), id == "images-4");
        sandbox.stop(Duration::ZERO).await.unwrap();
    }
    machine.end(&[]).await;
}
