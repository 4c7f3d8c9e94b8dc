//! Folders of skills, good and bad, and what is said of them.

use std::fs;

use tempfile::TempDir;

use super::*;

/// A workspace, a user's skills and an extra folder.
struct Home {
    folder: TempDir,
    skills: Skills,
}

impl Home {
    fn new() -> Home {
        let folder = TempDir::new().unwrap();
        let skills = Skills {
            user: folder.path().join("state/skills"),
            extra: vec![folder.path().join("extra")],
            ..Skills::default()
        };
        Home { folder, skills }
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn survey(&self) -> Vec<Skill> {
        survey(&self.skills, &self.folder.path().join("work"), None)
    }

    /// The ones that are not of the binary, a line each.
    fn lines(&self) -> Vec<String> {
        let own = self.survey().into_iter().filter(|skill| skill.source != Source::Bundled);
        own.map(|skill| format!("{} {} {:?}", skill.name, skill.source, skill.standing)).collect()
    }
}

fn text(name: &str, more: &str) -> String {
    format!("---\nname: {name}\ndescription: Does {name}.\n{more}---\n\n# Steps\n")
}

#[test]
fn the_first_place_that_has_a_name_counts() {
    let home = Home::new();
    for place in ["work/skills", "state/skills", "extra"] {
        home.put(&format!("{place}/a/SKILL.md"), &text("a", ""));
    }
    home.put("state/skills/b/SKILL.md", &text("b", ""));
    home.put("work/skills/b/README.md", "no skill");
    home.put("extra/research/SKILL.md", &text("research", ""));
    assert_eq!(
        home.lines(),
        [
            "a workspace Ready",
            "a user Shadowed(Workspace)",
            "a extra Shadowed(Workspace)",
            "b user Ready",
            "research extra Ready",
        ]
    );
    let bundled: Vec<Skill> =
        home.survey().into_iter().filter(|skill| skill.source == Source::Bundled).collect();
    assert_eq!(bundled.len(), BUNDLED.len());
    for skill in bundled {
        let shadowed = skill.name == "research";
        assert_eq!(skill.standing == Standing::Shadowed(Source::Extra), shadowed, "{skill:?}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_hides_nothing() {
    #[rustfmt::skip]
    let table = [
        ("",                                                     "line 1: expected `---`"),
        ("---\nname: x\n",                                       "line 1: the head that begins here"),
        ("---\ndescription: d\n---\n",                           "line 1: `name` is missing"),
        ("---\nname: x\ndescription: ' '\n---\n",                "line 3: `description` is missing"),
        ("---\nname: A b\ndescription: d\n---\n",                "line 2: `name` must be of a-z"),
        ("---\nname: x\ndescription: [1, 2]\n---\n",             "line 3: "),
        ("---\nname: x\ndescription: \"d\n---\n",                "line "),
        ("---\nname: x\ndescription: d\nmetadata: {openclaw: {requires: 7}}\n---\n",
                                                                 "line 4: `metadata.openclaw`"),
    ];
    for (bad, why) in table {
        let home = Home::new();
        home.put("work/skills/x/SKILL.md", bad);
        home.put("state/skills/x/SKILL.md", &text("x", ""));
        let found = home.survey();
        let of = |source| found.iter().find(|s| s.source == source && s.name == "x").unwrap();
        let Standing::Bad(told) = &of(Source::Workspace).standing else {
            panic!("{bad:?} is {:?}", of(Source::Workspace).standing);
        };
        assert!(told.starts_with(why), "{bad:?}: {told}");
        assert_eq!(of(Source::User).standing, Standing::Ready, "{bad:?}");
    }
    let home = Home::new();
    home.put("elsewhere/SKILL.md", &text("x", ""));
    home.put("work/skills/.keep", "");
    let (target, link) = ("elsewhere", "work/skills/x");
    std::os::unix::fs::symlink(home.folder.path().join(target), home.folder.path().join(link))
        .unwrap();
    assert!(home.lines()[0].contains("outside of its place"), "{:?}", home.lines());
}

#[test]
fn a_skill_says_what_it_needs() {
    let home = Home::new();
    let needs = "metadata:\n  openclaw:\n    os: [linux, darwin]\n    requires:\n      \
                 bins: [sh, no-such-program]\n      anyBins: [none-a, none-b]\n      \
                 env: NO_SUCH_VARIABLE\n      config: [tools.web.fetch.enabled]\n";
    home.put("work/skills/needy/SKILL.md", &text("needy", needs));
    // As others write it: JSON on one line.
    let json = "metadata: {\"openclaw\":{\"emoji\":\"x\",\"always\":true,\"os\":[\"win32\"]}}\n";
    home.put("work/skills/easy/SKILL.md", &text("easy", json));
    home.put("work/skills/quiet/SKILL.md", &text("quiet", "disable-model-invocation: true\n"));
    let found = home.survey();
    let of = |name: &str| &found.iter().find(|skill| skill.name == name).unwrap().standing;
    let missing = ["no-such-program", "none-a or none-b"].map(|name| format!("program {name}"));
    let mut missing = missing.to_vec();
    missing.push("variable NO_SUCH_VARIABLE".to_owned());
    missing.push("config tools.web.fetch.enabled".to_owned());
    assert_eq!(*of("needy"), Standing::Needs(missing));
    assert_eq!((of("easy"), of("quiet")), (&Standing::Ready, &Standing::Unlisted));
}

#[test]
fn the_configuration_takes_skills_away() {
    let mut home = Home::new();
    home.put("work/skills/a/SKILL.md", &text("a", ""));
    home.put("work/skills/b/SKILL.md", &text("b", ""));
    home.skills.disabled = ["a".to_owned()].into();
    home.skills.bundled = Some(["research".to_owned()].into());
    let allow = ["a", "research"].map(str::to_owned).into();
    let found = survey(&home.skills, &home.folder.path().join("work"), Some(&allow));
    let told: Vec<String> =
        found.iter().map(|skill| format!("{} {:?}", skill.name, skill.standing)).collect();
    assert_eq!(
        told,
        [
            "a Off(\"skills.entries.a.enabled\")",
            "b Off(\"agents.*.skills\")",
            "research Ready",
            "review-code Off(\"skills.allowBundled\")",
            "write-skill Off(\"skills.allowBundled\")",
        ]
    );
}

#[test]
fn the_list_is_sorted_and_bounded() {
    let mut home = Home::new();
    for n in (0..30).rev() {
        home.put(&format!("work/skills/s{n:02}/SKILL.md"), &text(&format!("s{n:02}"), ""));
    }
    home.skills.bundled = Some(BTreeSet::new());
    let (list, cut) = listing(&home.skills, &home.survey()).unwrap();
    assert!(!cut && list.contains("- s00: Does s00.\n- s01: Does s01.\n"), "{list}");
    home.skills.listed_max = 7;
    let (list, cut) = listing(&home.skills, &home.survey()).unwrap();
    assert!(cut && list.ends_with("[23 more skills are not listed: the list is full]\n"), "{list}");
    home.skills.chars_max = 150;
    let (list, _) = listing(&home.skills, &home.survey()).unwrap();
    assert!(list.chars().count() < 150 + 60 && list.contains("s00"), "{list}");
    home.skills.listed_max = 0;
    assert_eq!(listing(&home.skills, &home.survey()), None);
}

#[test]
fn what_is_bundled_is_right_and_short() {
    for skill in &BUNDLED {
        let front = front::parse(skill.text).unwrap();
        assert_eq!(front.name, skill.name);
        assert!(front.description.len() < 130 && skill.text.len() < 2_500, "{}", skill.name);
    }
}
