//! The layers one by one, and all of them against a second formulation.

use std::collections::BTreeSet;

use super::*;

const CATALOGUE: &[(&str, EffectClass, &str)] = &[
    ("sessions_spawn", EffectClass::Internal, "sessions"),
    ("sessions_yield", EffectClass::Internal, "sessions"),
    ("sessions_send", EffectClass::Internal, "sessions"),
    ("sessions_list", EffectClass::Pure, "sessions"),
    ("session_status", EffectClass::Pure, "sessions"),
    ("subagents", EffectClass::Internal, "sessions"),
    ("automations", EffectClass::Internal, "automation"),
    ("message", EffectClass::Opaque, "messaging"),
    ("read", EffectClass::Pure, "fs"),
    ("write", EffectClass::Idempotent, "fs"),
    ("edit", EffectClass::Probed, "fs"),
    ("exec", EffectClass::Opaque, "runtime"),
];

fn catalogue() -> Vec<ToolFact> {
    let fact = |&(name, effect, group): &(&str, EffectClass, &str)| ToolFact {
        name: name.to_owned(),
        effect,
        groups: vec![group.to_owned()],
        description: String::new(),
    };
    CATALOGUE.iter().map(fact).collect()
}

fn entries(texts: &[&str]) -> Vec<Entry> {
    texts.iter().map(|text| Entry::of(text)).collect()
}

fn agent(id: &str) -> AgentId {
    id.parse().unwrap()
}

fn limits(change: impl FnOnce(&mut ToolRules)) -> Limits {
    let mut limits = Limits { spawn_depth_max: 3, ..Limits::default() };
    limits.tools.catalogue = catalogue();
    change(&mut limits.tools);
    limits
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

fn root(limits: &Limits, id: &str) -> Policy {
    let agent = &agent(id);
    decide(
        limits,
        &Subject { agent, depth: 0, access: Access::Full, model: "p/m", requester: None },
    )
}

type Change = fn(&mut ToolRules);
type Case = (Change, u32, Access, &'static str, Rule, &'static str, &'static str);

const LAYERS: &[Case] = &[
    (
        |rules| rules.profile = Some(Profile::Minimal),
        0,
        Access::Full,
        "exec",
        Rule::Profile,
        "tools.profile",
        "\"minimal\"",
    ),
    (
        |rules| rules.lists.deny = entries(&["bash", "group:web"]),
        0,
        Access::Full,
        "exec",
        Rule::Tools,
        "tools.deny",
        "[\"bash\",\"group:web\"]",
    ),
    (
        |rules| rules.lists.allow = Some(entries(&["group:fs"])),
        0,
        Access::Full,
        "exec",
        Rule::Tools,
        "tools.allow",
        "[\"group:fs\"]",
    ),
    (
        |rules| {
            let own = rules.agents.entry(agent("main")).or_default();
            own.lists.deny = entries(&["*"]);
        },
        0,
        Access::Full,
        "read",
        Rule::Agent,
        "agents.entries.main.tools.deny",
        "[\"*\"]",
    ),
    (
        |_| {},
        3,
        Access::Full,
        "sessions_spawn",
        Rule::Role,
        "agents.defaults.subagents.maxSpawnDepth",
        "3",
    ),
    (
        |rules| rules.subagents.allow = Some(entries(&["read"])),
        1,
        Access::Full,
        "exec",
        Rule::Subagents,
        "tools.subagents.tools.allow",
        "[\"read\"]",
    ),
    (|_| {}, 0, Access::ReadOnly, "edit", Rule::Access, "", ""),
    (|_| {}, 1, Access::Full, "message", Rule::Role, "", ""),
];

/// One layer at a time: what it takes, and what it names as the reason.
#[test]
fn each_layer_names_itself() {
    for (change, depth, access, tool, rule, key, value) in LAYERS {
        let limits = limits(change);
        let main = agent("main");
        let subject =
            Subject { agent: &main, depth: *depth, access: *access, model: "p/m", requester: None };
        let policy = decide(&limits, &subject);
        let removed = policy.removed.iter().find(|removed| removed.tool == *tool).unwrap();
        let found = (removed.rule, removed.key.as_deref(), removed.value.as_deref());
        let some = |text: &'static str| (!text.is_empty()).then_some(text);
        assert_eq!(found, (*rule, some(key), some(value)));
        let why = policy.refusal(tool).unwrap();
        assert!(why.contains(tool) && why.contains(key) && why.contains(value), "{why}");
    }
}

#[test]
fn an_agents_profile_stands_in_the_place_of_the_global_one_and_more_can_be_allowed_beside_it() {
    let limits = limits(|rules| {
        rules.profile = Some(Profile::Coding);
        let own = rules.agents.entry(agent("ops")).or_default();
        own.profile = Some(Profile::Minimal);
        own.lists.also_allow = entries(&["exec", "read"]);
        own.lists.deny = entries(&["read"]);
    });
    assert_eq!(root(&limits, "ops").allowed, set(["exec", "session_status"]));
    assert!(!root(&limits, "main").allowed.contains("message"), "that is not for coding");
}

#[test]
fn a_leaf_keeps_what_speaks_and_works() {
    let limits = limits(|_| {});
    let has = root(&limits, "main").allowed;
    let main = agent("main");
    let requester = Some(Requester { agent: &main, has: &has });
    let leaf = Subject { agent: &main, depth: 3, access: Access::Full, model: "p/m", requester };
    let leaf = decide(&limits, &leaf).allowed;
    assert_eq!(leaf, set(["sessions_send", "session_status", "read", "write", "edit", "exec"]));
}

#[test]
fn a_read_only_session_reads_speaks_and_delegates() {
    let limits = limits(|_| {});
    let main = agent("main");
    let subject =
        Subject { agent: &main, depth: 0, access: Access::ReadOnly, model: "p/m", requester: None };
    let names = ["read", "sessions_list", "session_status", "sessions_spawn", "sessions_yield"];
    let names = names.into_iter().chain(["sessions_send", "subagents"]);
    assert_eq!(decide(&limits, &subject).allowed, set(names));
}

#[test]
fn a_grant_is_for_one_requester_and_one_target() {
    let limits = limits(|rules| {
        let chat = rules.agents.entry(agent("chat")).or_default();
        chat.lists.deny = entries(&["group:fs", "exec"]);
        chat.delegate.insert("coder".to_owned(), entries(&["group:fs"]));
    });
    let chat = agent("chat");
    let has = root(&limits, "chat").allowed;
    let child = |target: &str| {
        let requester = Some(Requester { agent: &chat, has: &has });
        let agent = &agent(target);
        decide(&limits, &Subject { agent, depth: 1, access: Access::Full, model: "p/m", requester })
    };
    let coder = child("coder");
    assert!(["read", "write", "edit"].iter().all(|tool| coder.allowed.contains(*tool)));
    let why = coder.refusal("exec").unwrap();
    assert!(why.contains("agents.entries.chat.subagents.delegateTools.coder is [\"group:fs\"]"));
    assert!(!child("other").allowed.contains("read"), "nothing was said of this one");
    assert!(!child("chat").allowed.contains("read"), "its own denies are its own");
}

#[test]
fn what_is_kept_is_narrowed_at_once_and_widened_later() {
    let open = limits(|_| {});
    let strict = limits(|rules| rules.lists.deny = entries(&["exec"]));
    let (wide, narrow) = (root(&open, "main"), root(&strict, "main"));
    let now = wide.clone().narrowed(narrow.clone());
    assert!(now.refusal("exec").unwrap().contains("tools.deny is [\"exec\"]"));
    let later = narrow.narrowed(wide);
    let removed = later.removed.iter().find(|removed| removed.tool == "exec").unwrap();
    assert_eq!((removed.rule, removed.key.as_deref()), (Rule::Episode, Some("tools.deny")));
    assert!(later.refusal("exec").unwrap().contains("comes with the next"));
    assert!(later.refusal("no_such_tool").unwrap().starts_with("There is no tool"));
}

/// One choice of everything that a policy depends on.
#[derive(Clone, Copy, Debug)]
struct Choice {
    profile: Option<Profile>,
    deny: &'static [&'static str],
    agent_allow: Option<&'static [&'static str]>,
    children_deny: &'static [&'static str],
    access: Access,
    grant: &'static [&'static str],
}

fn choices() -> Vec<Choice> {
    let mut all = Vec::new();
    let profiles = [None, Some(Profile::Minimal), Some(Profile::Coding), Some(Profile::Messaging)];
    let denies: [&[&str]; 3] = [&[], &["exec"], &["group:fs", "sessions_yield"]];
    let allows: [Option<&[&str]>; 2] = [None, Some(&["read", "bash", "sessions_*"])];
    let grants: [&[&str]; 3] = [&[], &["exec"], &["*"]];
    for profile in profiles {
        for deny in denies {
            for agent_allow in allows {
                for children_deny in [&[][..], &["write", "subagents"][..]] {
                    for access in [Access::Full, Access::ReadOnly] {
                        for grant in grants {
                            all.push(Choice {
                                profile,
                                deny,
                                agent_allow,
                                children_deny,
                                access,
                                grant,
                            });
                        }
                    }
                }
            }
        }
    }
    all
}

/// `chat` (the choice's own list) asks `work` (no list) asks `work` asks `work`, a leaf.
fn computed(choice: &Choice) -> Vec<BTreeSet<String>> {
    let limits = limits(|rules| {
        rules.profile = choice.profile;
        rules.lists.deny = entries(choice.deny);
        rules.subagents.deny = entries(choice.children_deny);
        let chat = rules.agents.entry(agent("chat")).or_default();
        chat.lists.allow = choice.agent_allow.map(entries);
        chat.delegate.insert("work".to_owned(), entries(choice.grant));
    });
    let link = |(depth, id): (u32, &str)| Link {
        agent: agent(id),
        depth,
        access: if depth >= 2 { choice.access } else { Access::Full },
        model: "p/m".to_owned(),
        kept: None,
    };
    let way: Vec<Link> =
        [(0, "chat"), (1, "work"), (2, "work"), (3, "work")].map(link).into_iter().collect();
    (1..=way.len())
        .map(|length| along(&limits, way[..length].to_vec()))
        .map(|p| p.allowed)
        .collect()
}

/// The same with sets: everything that is named is written out by hand.
fn expected(choice: &Choice) -> Vec<BTreeSet<String>> {
    let all: Vec<&str> = CATALOGUE.iter().map(|(name, ..)| *name).collect();
    let (fs, sessions) = (["read", "write", "edit"], &all[..6]);
    let unfold = |names: &[&'static str]| -> BTreeSet<String> {
        let of = |name: &&'static str| -> Vec<&'static str> {
            match *name {
                "*" => all.clone(),
                "bash" => vec!["exec"],
                "group:fs" => fs.to_vec(),
                "sessions_*" => sessions[..4].to_vec(),
                name => vec![name],
            }
        };
        set(names.iter().flat_map(of))
    };
    let profile = match choice.profile {
        None | Some(Profile::Full) => set(all.clone()),
        Some(Profile::Minimal) => set(["session_status"]),
        Some(Profile::Coding) => {
            set(sessions.iter().copied().chain(fs).chain(["exec", "automations"]))
        }
        Some(Profile::Messaging) => set(sessions.iter().copied().chain(["message"])),
    };
    let base = &profile - &unfold(choice.deny);
    let chat = match choice.agent_allow {
        Some(allow) => &base & &unfold(allow),
        None => base.clone(),
    };
    let child = &(&base - &set(["message", "automations"])) - &unfold(choice.children_deny);
    let first = &child & &(&chat | &unfold(choice.grant));
    let pure = ["read", "sessions_list", "session_status"];
    let speaking = ["sessions_spawn", "sessions_yield", "sessions_send", "subagents"];
    let second = match choice.access {
        Access::Full => first.clone(),
        Access::ReadOnly => &first & &set(pure.into_iter().chain(speaking)),
    };
    let gone = set(["sessions_spawn", "sessions_yield", "subagents", "sessions_list"]);
    let third = &second - &gone;
    vec![chat, first, second, third]
}

#[test]
fn the_layers_are_the_formula_in_hundreds_of_configurations() {
    let choices = choices();
    assert!(choices.len() >= 200, "{} choices", choices.len());
    let mut different: BTreeSet<Vec<BTreeSet<String>>> = BTreeSet::new();
    for choice in &choices {
        let computed = computed(choice);
        assert_eq!(computed, expected(choice), "{choice:?}");
        different.insert(computed);
    }
    assert!(different.len() > 40, "only {} different results", different.len());
}

#[test]
fn without_a_grant_a_child_never_has_more_than_its_requester() {
    for choice in choices().iter().filter(|choice| choice.grant.is_empty()) {
        let sets = computed(choice);
        assert!(sets.windows(2).all(|pair| pair[1].is_subset(&pair[0])), "{choice:?}: {sets:?}");
    }
    // And with one it may.
    let granted = choices().into_iter().filter(|choice| !choice.grant.is_empty());
    let more = granted.filter(|choice| !computed(choice)[1].is_subset(&computed(choice)[0]));
    assert!(more.count() > 10);
}

#[test]
fn an_empty_set_says_what_has_emptied_it() {
    let limits = limits(|rules| {
        rules.lists.allow = Some(entries(&["exec"]));
        rules.subagents.deny = entries(&["exec"]);
    });
    let main = agent("main");
    let subject =
        Subject { agent: &main, depth: 3, access: Access::Full, model: "p/m", requester: None };
    let policy = decide(&limits, &subject);
    assert_eq!(policy.allowed, BTreeSet::new());
    let why = policy.emptied_by();
    assert!(why.contains("tools.allow is [\"exec\"]"), "{why}");
    assert!(why.contains("tools.subagents.tools.deny is [\"exec\"]"), "{why}");
}

#[test]
fn a_policy_is_read_back_as_it_was_kept() {
    let limits = limits(|rules| rules.lists.deny = entries(&["exec"]));
    let policy = root(&limits, "main");
    let text = serde_json::to_string(&policy).unwrap();
    assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), policy);
}

/// Rules for providers: whose they are, for which models they hold, and what they name.
#[test]
fn the_rules_for_a_provider_hold_for_its_models_and_those_for_a_model_stand_in_their_place() {
    let rules = |deny: &[&str]| ProviderRules {
        profile: None,
        lists: ToolLists { deny: entries(deny), ..ToolLists::default() },
    };
    let mut limits = limits(|all| {
        all.providers.insert("local".to_owned(), rules(&["group:runtime"]));
        all.providers.insert("local/big".to_owned(), rules(&["write"]));
        let chat = all.agents.entry(agent("chat")).or_default();
        let profile = Some(Profile::Minimal);
        let lists = ToolLists { also_allow: entries(&["read"]), ..ToolLists::default() };
        chat.providers.insert("local".to_owned(), ProviderRules { profile, lists });
    });
    let look = |limits: &Limits, id: &str, model: &str, tool: &str| {
        let agent = &agent(id);
        let access = Access::Full;
        let policy = decide(limits, &Subject { agent, depth: 0, access, model, requester: None });
        let removed = policy.removed.into_iter().find(|removed| removed.tool == tool);
        removed.map(|removed| (removed.rule, removed.key.unwrap_or_default()))
    };
    let by = |key: &str| Some((Rule::Provider, key.to_owned()));
    let of_chat = "agents.entries.chat.tools.byProvider.local.profile";
    #[rustfmt::skip]
    let table = [
        // agent   model           tool     taken away by
        ("main",  "local/small",  "exec",  by("tools.byProvider.local.deny")),
        ("main",  "Local/small",  "exec",  by("tools.byProvider.local.deny")),
        ("main",  "local/x#one",  "exec",  by("tools.byProvider.local.deny")),
        ("main",  "local/small",  "write", None),
        ("main",  "local/big",    "exec",  None),
        ("main",  "local/big",    "write", by("tools.byProvider[\"local/big\"].deny")),
        ("main",  "other/small",  "exec",  None),
        ("main",  "",             "exec",  None),
        ("chat",  "local/small",  "exec",  by(of_chat)),
        ("chat",  "local/small",  "read",  None),
        // Both hold, and what one allows beside its profile the other may deny.
        ("chat",  "local/big",    "write", by(of_chat)),
        ("chat",  "other/small",  "write", None),
    ];
    for (id, model, tool, expected) in table {
        assert_eq!(look(&limits, id, model, tool), expected, "{id} {model} {tool}");
    }
    // They only take away: what `tools` denies they cannot give.
    limits.tools.lists.deny = entries(&["read"]);
    let read = look(&limits, "chat", "local/small", "read");
    assert_eq!(read, Some((Rule::Tools, "tools.deny".to_owned())));
    let why = decide(
        &limits,
        &Subject {
            agent: &agent("main"),
            depth: 0,
            access: Access::Full,
            model: "local/small",
            requester: None,
        },
    );
    let why = why.refusal("exec").unwrap();
    assert!(why.contains("tools.byProvider.local.deny is [\"group:runtime\"]"), "{why}");
}
