//! What a connection may do.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use types::word_enum;

word_enum! {
    /// A right of an operator's connection.
    pub enum Scope {
        Read = "operator.read",
        Write = "operator.write",
        Admin = "operator.admin",
        Approvals = "operator.approvals",
        Questions = "operator.questions",
        Pairing = "operator.pairing",
        Talk = "operator.talk",
        TalkSecrets = "operator.talk.secrets",
    }
}

/// The rights that one connection holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// May a call that needs `required` be made? `admin` implies all; `write` implies `read` and
    /// `talk`.
    pub fn allow(&self, required: Scope) -> bool {
        let implied = matches!(required, Scope::Read | Scope::Talk);
        self.0.contains(&required)
            || self.0.contains(&Scope::Admin)
            || (implied && self.0.contains(&Scope::Write))
    }

    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Scopes {
        Scopes(scopes.into_iter().collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let words: Vec<&str> = self.iter().map(Scope::as_str).collect();
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scope_implies() {
        use Scope::*;

        #[rustfmt::skip]
        let table = [
            // held      allows                            refuses
            (Read,      vec![Read],                        vec![Write, Admin, Talk, Approvals]),
            (Write,     vec![Read, Write, Talk],           vec![Admin, Approvals, TalkSecrets]),
            (Admin,     Scope::ALL.to_vec(),               vec![]),
            (Approvals, vec![Approvals],                   vec![Read, Write, Admin]),
        ];

        for (held, allows, refuses) in table {
            let held = Scopes::from_iter([held]);
            assert!(allows.iter().all(|&scope| held.allow(scope)), "{held}");
            assert!(!refuses.iter().any(|&scope| held.allow(scope)), "{held}");
        }
        assert!(!Scopes::default().allow(Read));
    }
}
