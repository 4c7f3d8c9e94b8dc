//! A full disk: new work is refused with a word, nothing accepted is lost, and when there is room
//! again it goes on by itself.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::house::House;
use crate::judge;

/// A file system of 160 MB, with room for the reserve of 64, as long as it is held.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    /// None where this user may not mount.
    fn mount(at: &Path) -> Option<SmallDisk<'_>> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=160m", "windlass-test"])
            .arg(at)
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(SmallDisk(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    let state = house.folder.path().join("small");
    let Some(_disk) = SmallDisk::mount(&state) else {
        eprintln!("skipped: this user may not mount a small file system");
        return;
    };
    house.move_state_to(&state);
    house.start().await;
    assert!(house.ask("before").await.starts_with("stub heard: before"));

    let filler = state.join("filler");
    let full = Command::new("sh")
        .arg("-c")
        .arg(format!("head -c 400M /dev/zero > {}", filler.display()))
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(!full.success(), "the disk is not full");
    let mut refused = 0;
    for n in 0..40 {
        let message = format!("{n} {}", "x".repeat(50_000));
        let output = house.run(&["agent", "--message", &message, "--no-wait"]).await;
        if !output.status.success() {
            refused += 1;
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(words.contains("full"), "{words}");
        }
    }
    assert!(refused > 0, "a disk without room took everything");

    std::fs::remove_file(&filler).unwrap();
    // The gateway looks for room every 30 s.
    let mut answer = None;
    for _ in 0..45 {
        let output = house.run(&["agent", "--message", "after"]).await;
        if output.status.success() {
            answer = Some(String::from_utf8(output.stdout).unwrap());
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(answer.expect("it does not go on").contains("after"));
    house.quiet().await;
    judge::all_is_well(&house, &Default::default()).await;
}
