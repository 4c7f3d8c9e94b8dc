//! What tools there are, as policy sees them: the sessions' own, then those of the toolbox, then
//! those of servers.

use machine::policy::ToolFact;
use tools::{Toolbox, sections, sessions};
use types::{EffectClass, ToolSpec};

/// Returns the tools in the order in which a model sees them.
pub fn catalogue(toolbox: &Toolbox, more: Option<&Toolbox>) -> Vec<ToolFact> {
    let own = sessions::specs().iter().map(|spec| {
        let groups = sections::of(&spec.name).iter().map(|&group| group.to_owned());
        fact(spec, sessions::effect(&spec.name), groups.collect())
    });
    let others = toolbox.tools().chain(more.into_iter().flat_map(Toolbox::tools));
    let others = others.map(|tool| fact(tool.spec(), tool.effect(), tool.groups()));
    own.chain(others).collect()
}

fn fact(spec: &ToolSpec, effect: EffectClass, groups: Vec<String>) -> ToolFact {
    let (name, description) = (spec.name.clone(), spec.description.clone());
    ToolFact { name, effect, groups, description }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_holds_every_tool_once_with_its_effect() {
        let facts = catalogue(&Toolbox::builtin(&tools::Config::default()), None);
        let effect = |name: &str| {
            let mut found = facts.iter().filter(|fact| fact.name == name);
            let fact = found.next().unwrap_or_else(|| panic!("no {name}"));
            assert_eq!(found.next(), None);
            fact.effect
        };
        assert_eq!(effect("sessions_spawn"), EffectClass::Internal);
        assert_eq!(effect("sessions_list"), EffectClass::Pure);
        assert_eq!(effect("read"), EffectClass::Pure);
        assert_eq!(effect("exec"), EffectClass::Opaque);
    }
}
