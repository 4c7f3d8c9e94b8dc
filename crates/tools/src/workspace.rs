//! Paths that a model writes become paths inside the workspace, or are refused.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Symbolic links followed in one path before it counts as a loop; Linux has the same bound.
const LINKS_MAX: u32 = 40;

/// The folder that the file tools are bound to.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Absolute, without symbolic links.
    root: PathBuf,
}

/// Why a path is refused.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    #[error("the path is empty")]
    Empty,
    #[error("the path `{path}` holds a NUL character")]
    Nul { path: String },
    #[error("`~` is not expanded: `{path}` must be relative to the workspace `{root}`")]
    Home { path: String, root: String },
    #[error("`{path}` leads outside the workspace `{root}`; only paths inside it are allowed")]
    Outside { path: String, root: String },
    #[error("`{path}` has more than {LINKS_MAX} symbolic links, or they form a loop")]
    Loop { path: String },
    #[error("cannot look up `{path}`: {source}")]
    Lookup { path: String, source: io::Error },
    #[error("the workspace `{root}` cannot be used: {source}")]
    Root { root: String, source: io::Error },
}

impl Workspace {
    /// Opens the folder, which must be there.
    pub fn open(root: &Path) -> Result<Workspace, PathError> {
        let shown = || root.display().to_string();
        let root =
            root.canonicalize().map_err(|source| PathError::Root { root: shown(), source })?;
        if !root.is_dir() {
            let source = io::ErrorKind::NotADirectory.into();
            return Err(PathError::Root { root: shown(), source });
        }
        Ok(Workspace { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the absolute path that `path` means, free of `.`, `..` and symbolic links. What
    /// it names need not exist.
    ///
    /// This keeps a model's mistakes inside. It does not hold against a process that swaps a
    /// folder for a link between this check and the use: whoever can do that has a shell.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, PathError> {
        let owned = || path.to_owned();
        let root = || self.root.display().to_string();
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        if path.contains('\0') {
            return Err(PathError::Nul { path: path.replace('\0', "\\0") });
        }
        // Without this, a folder named `~` would appear in the workspace.
        if path == "~" || path.starts_with("~/") {
            return Err(PathError::Home { path: owned(), root: root() });
        }
        let real = real_path(&self.root.join(path), path)?;
        if !real.starts_with(&self.root) {
            return Err(PathError::Outside { path: owned(), root: root() });
        }
        Ok(real)
    }

    /// How a resolved path is shown: relative to the workspace.
    pub fn relative<'a>(&self, real: &'a Path) -> &'a Path {
        let relative = real.strip_prefix(&self.root).unwrap_or(real);
        if relative.as_os_str().is_empty() { Path::new(".") } else { relative }
    }
}

/// One step of a path, owned.
enum Step {
    Root,
    Up,
    Into(OsString),
}

/// Walks `path`, which is absolute, and follows every link on the way. Unlike `canonicalize` it
/// goes on where nothing exists, and sees through links that dangle.
fn real_path(path: &Path, written: &str) -> Result<PathBuf, PathError> {
    let mut here = PathBuf::from("/");
    let mut ahead: Vec<Step> = steps(path);
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        let name = match step {
            Step::Root => {
                here = PathBuf::from("/");
                continue;
            }
            Step::Up => {
                here.pop();
                continue;
            }
            Step::Into(name) => name,
        };
        here.push(name);
        let lookup = |source| PathError::Lookup { path: written.to_owned(), source };
        match here.symlink_metadata() {
            Ok(found) if found.is_symlink() => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(PathError::Loop { path: written.to_owned() });
                }
                let target = here.read_link().map_err(lookup)?;
                here.pop();
                ahead.extend(steps(&target));
            }
            Ok(_) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(lookup(error)),
        }
    }
    Ok(here)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The steps of a path, last first.
fn steps(path: &Path) -> Vec<Step> {
    let step = |component: Component<'_>| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Into(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A workspace `work` beside a folder `outside`, both in a folder that goes away.
    fn fixture() -> (tempfile::TempDir, Workspace) {
        let folder = tempfile::tempdir().unwrap();
        let (work, outside) = (folder.path().join("work"), folder.path().join("outside"));
        fs::create_dir_all(work.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "s").unwrap();
        symlink(&outside, work.join("out")).unwrap();
        symlink("../../outside/secret", work.join("a/secret")).unwrap();
        symlink("../outside/not-there-yet", work.join("dangling")).unwrap();
        symlink("b", work.join("a/in")).unwrap();
        symlink(work.join("a"), work.join("absolute-in")).unwrap();
        symlink("loop", work.join("loop")).unwrap();
        let workspace = Workspace::open(&work).unwrap();
        (folder, workspace)
    }

    #[test]
    fn paths_inside_resolve() {
        let (_folder, workspace) = fixture();
        for (path, real) in [
            (".", ""),
            ("a/b", "a/b"),
            ("./a//b/", "a/b"),
            ("a/../a/b", "a/b"),
            ("new/deep/file", "new/deep/file"),
            ("new/../file", "file"),
            ("a/in/file", "a/b/file"),
            ("absolute-in/b", "a/b"),
            ("...", "..."),
        ] {
            let expected = workspace.root().join(real);
            assert_eq!(workspace.resolve(path).unwrap(), expected, "{path:?}");
        }
        let absolute = workspace.root().join("a/b");
        assert_eq!(workspace.resolve(absolute.to_str().unwrap()).unwrap(), absolute);
    }

    #[test]
    fn paths_that_lead_outside_are_refused_and_name_both() {
        let (folder, workspace) = fixture();
        let sibling = folder.path().join("work-too/file").display().to_string();
        for path in [
            "..",
            "../outside/secret",
            "a/../../outside",
            "new/../../outside",
            "/etc/passwd",
            "/",
            "out",
            "out/secret",
            "out/new/file",
            "a/secret",
            "dangling",
            "dangling/file",
            "a/in/../../../outside/secret",
            &sibling,
        ] {
            let error = workspace.resolve(path).unwrap_err();
            assert!(matches!(error, PathError::Outside { .. }), "{path:?}: {error}");
            let text = error.to_string();
            assert!(text.contains(path), "{text}");
            assert!(text.contains(&workspace.root().display().to_string()), "{text}");
        }
    }

    #[test]
    fn paths_that_mean_nothing_are_refused() {
        let (folder, workspace) = fixture();
        assert!(matches!(workspace.resolve(""), Err(PathError::Empty)));
        assert!(matches!(workspace.resolve("a\0b"), Err(PathError::Nul { .. })));
        assert!(matches!(workspace.resolve("~/x"), Err(PathError::Home { .. })));
        assert!(matches!(workspace.resolve("loop"), Err(PathError::Loop { .. })));
        let missing = Workspace::open(&folder.path().join("missing"));
        assert!(matches!(missing, Err(PathError::Root { .. })));
        let file = Workspace::open(&folder.path().join("outside/secret"));
        assert!(matches!(file, Err(PathError::Root { .. })));
    }
}
