//! A patch over the files that are there: all of it is checked, then all of it is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::edit::text_of;
use crate::replace::{self, Staged};
use crate::workspace::Workspace;

use super::parse::Operation;
use super::{Request, hunk};

/// The files of a patch, by their real paths: as they are, and as they shall be.
#[derive(Debug, Default)]
struct Plan {
    files: BTreeMap<PathBuf, Planned>,
}

#[derive(Debug)]
struct Planned {
    /// As the model wrote it.
    written: String,
    /// Whose permissions a new file gets.
    like: PathBuf,
    before: Option<String>,
    after: Option<String>,
}

pub(super) fn apply(request: &Request) -> Result<(), String> {
    let paths = paths(&request.workspace, &request.operations)?;
    let _locks = replace::lock_all(&paths);
    let plan = Plan::of(request).map_err(|error| format!("nothing was changed: {error}"))?;
    plan.make()
}

/// The real paths that the operations name.
fn paths(workspace: &Workspace, operations: &[Operation]) -> Result<BTreeSet<PathBuf>, String> {
    let mut paths = BTreeSet::new();
    for operation in operations {
        let (path, to) = match operation {
            Operation::Add { path, .. } | Operation::Delete { path } => (path, None),
            Operation::Update { path, move_to, .. } => (path, move_to.as_ref()),
        };
        for path in [Some(path), to].into_iter().flatten() {
            paths.insert(resolve(workspace, path)?);
        }
    }
    Ok(paths)
}

pub(super) fn resolve(workspace: &Workspace, path: &str) -> Result<PathBuf, String> {
    if path.ends_with('/') {
        return Err(format!("`{path}` names a folder; a patch changes files"));
    }
    workspace.resolve(path).map_err(|error| error.to_string())
}

impl Plan {
    fn of(request: &Request) -> Result<Plan, String> {
        let mut plan = Plan::default();
        for operation in &request.operations {
            plan.add(request, operation)?;
        }
        plan.check_folders()?;
        Ok(plan)
    }

    fn add(&mut self, request: &Request, operation: &Operation) -> Result<(), String> {
        let resolve = |path: &str| resolve(&request.workspace, path);
        match operation {
            Operation::Add { path, content } => {
                let file = self.file(&resolve(path)?, path, request.bytes_max)?;
                if file.after.is_some() {
                    return Err(format!(
                        "`{path}` is there already; change it with *** Update File"
                    ));
                }
                file.after = Some(content.clone());
            }
            Operation::Delete { path } => {
                refuse_link(&request.workspace, path)?;
                let file = self.existing(&resolve(path)?, path, request.bytes_max)?;
                file.after = None;
            }
            Operation::Update { path, move_to, hunks } => {
                let real = resolve(path)?;
                let file = self.existing(&real, path, request.bytes_max)?;
                let text = file.after.take().unwrap_or_default();
                let made = hunk::apply(&text, hunks).map_err(|misfit| {
                    let hunk::Misfit { hunk, at, why } = misfit;
                    format!("hunk {hunk} of `{path}` (line {at} of the patch): {why}")
                })?;
                within(&made, path, request.bytes_max)?;
                let Some(to) = move_to else {
                    file.after = Some(made);
                    return Ok(());
                };
                refuse_link(&request.workspace, path)?;
                let target = self.file(&resolve(to)?, to, request.bytes_max)?;
                if target.after.is_some() {
                    return Err(format!("`{path}` cannot be moved: `{to}` is there already"));
                }
                target.after = Some(made);
                target.like = real;
            }
        }
        Ok(())
    }

    /// The file as the operations so far leave it.
    fn file(&mut self, real: &Path, written: &str, max: u64) -> Result<&mut Planned, String> {
        if !self.files.contains_key(real) {
            replace::check_target(real, written)?;
            let there = real.symlink_metadata().is_ok();
            let before = there.then(|| text_of(real, written, max)).transpose()?;
            let planned = Planned {
                written: written.to_owned(),
                like: real.to_owned(),
                after: before.clone(),
                before,
            };
            self.files.insert(real.to_owned(), planned);
        }
        self.files.get_mut(real).ok_or_else(|| format!("`{written}` is not planned"))
    }

    fn existing(&mut self, real: &Path, written: &str, max: u64) -> Result<&mut Planned, String> {
        let file = self.file(real, written, max)?;
        match file.after {
            Some(_) => Ok(file),
            None => Err(format!("there is no file `{written}`")),
        }
    }

    /// Refuses files that would have to lie below files.
    fn check_folders(&self) -> Result<(), String> {
        for (path, planned) in self.files.iter().filter(|(_, planned)| planned.after.is_some()) {
            for above in path.ancestors().skip(1) {
                let planned_file = self.files.get(above).is_some_and(|file| file.after.is_some());
                if planned_file || above.metadata().is_ok_and(|found| !found.is_dir()) {
                    let (written, above) = (&planned.written, above.display());
                    return Err(format!("`{written}` cannot be made: `{above}` is a file"));
                }
            }
        }
        Ok(())
    }

    /// Writes everything beside its place first. What fails up to then has changed nothing.
    fn make(self) -> Result<(), String> {
        let changed = self.files.into_iter().filter(|(_, file)| file.before != file.after);
        let changed: Vec<(PathBuf, Planned)> = changed.collect();
        let mut staged = Vec::new();
        for (path, planned) in &changed {
            let Some(after) = &planned.after else { continue };
            match replace::stage(path, after.as_bytes(), &planned.like) {
                Ok(file) => staged.push((path, planned, file)),
                Err(error) => {
                    let folders: Vec<PathBuf> =
                        staged.iter().flat_map(|(.., file)| file.made().to_vec()).collect();
                    // Drops what was staged, so that the new folders are empty again.
                    drop(staged);
                    folders.iter().for_each(|folder| drop(fs::remove_dir(folder)));
                    let written = &planned.written;
                    return Err(format!("nothing was changed: cannot write `{written}`: {error}"));
                }
            }
        }
        put_all(staged, &changed)
    }
}

/// Puts the new files in place and then removes the old ones: at no time is a moved file nowhere.
fn put_all(
    staged: Vec<(&PathBuf, &Planned, Staged)>,
    changed: &[(PathBuf, Planned)],
) -> Result<(), String> {
    let mut done: Vec<(&PathBuf, &Planned)> = Vec::new();
    for (path, planned, file) in staged {
        file.put().map_err(|error| taken_back(&done, planned, &error))?;
        done.push((path, planned));
    }
    for (path, planned) in changed.iter().filter(|(_, planned)| planned.after.is_none()) {
        done.push((path, planned));
        remove(path).map_err(|error| taken_back(&done, planned, &error))?;
    }
    Ok(())
}

fn remove(path: &Path) -> std::io::Result<()> {
    fs::remove_file(path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Restores what was changed before `failed`, and says what could not be.
fn taken_back(done: &[(&PathBuf, &Planned)], failed: &Planned, error: &std::io::Error) -> String {
    let mut left = Vec::new();
    for (path, planned) in done.iter().rev() {
        let restored = match &planned.before {
            Some(before) => replace::replace(path, before.as_bytes()),
            None if path.symlink_metadata().is_ok() => remove(path),
            None => Ok(()),
        };
        if restored.is_err() {
            left.push(format!("`{}`", planned.written));
        }
    }
    let written = &failed.written;
    match &left[..] {
        [] => format!("nothing was changed: cannot change `{written}`: {error}"),
        left => format!(
            "cannot change `{written}`: {error}; it could not be taken back in {}",
            left.join(", ")
        ),
    }
}

/// A link would be followed, and what it points to be removed in its place.
fn refuse_link(workspace: &Workspace, path: &str) -> Result<(), String> {
    let whole = workspace.root().join(path);
    let (Some(folder), Some(name)) = (whole.parent(), whole.file_name()) else { return Ok(()) };
    let link = folder.join(name).symlink_metadata().is_ok_and(|found| found.is_symlink());
    if link {
        return Err(format!("`{path}` is a symbolic link; move or delete it with exec"));
    }
    Ok(())
}

fn within(text: &str, path: &str, bytes_max: u64) -> Result<(), String> {
    let bytes = text.len() as u64;
    if bytes > bytes_max {
        return Err(format!("`{path}` would have {bytes} bytes; at most {bytes_max} are allowed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply_patch::parse::parse;

    const BODY: &str = "*** Begin Patch\n*** Update File: kept\n-old\n+new\n\
        *** Add File: x/made\n+x\n*** Add File: y/last\n+y\n*** Delete File: gone\n*** End Patch";

    /// A project and a patch for it that fits; then `change` happens behind its back.
    fn made_after(change: impl FnOnce(&Path)) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("kept"), "old\n").unwrap();
        fs::write(folder.path().join("gone"), "gone").unwrap();
        let workspace = Workspace::open(folder.path()).unwrap();
        let request = Request { workspace, operations: parse(BODY).unwrap(), bytes_max: 1_000 };
        let plan = Plan::of(&request).unwrap();
        change(folder.path());
        let error = plan.make().unwrap_err();
        (folder, error)
    }

    fn is_as_it_was(folder: &Path) {
        assert_eq!(fs::read_to_string(folder.join("kept")).unwrap(), "old\n");
        assert_eq!(fs::read_to_string(folder.join("gone")).unwrap(), "gone");
        assert!(!folder.join("x/made").exists());
        let temporary = |entry: fs::DirEntry| entry.file_name().to_string_lossy().contains(".tmp");
        assert!(!fs::read_dir(folder).unwrap().any(|entry| temporary(entry.unwrap())));
    }

    #[test]
    fn a_file_that_cannot_be_staged_leaves_no_trace() {
        let (folder, error) = made_after(|folder| fs::write(folder.join("y"), "").unwrap());
        assert!(error.starts_with("nothing was changed: cannot write `y/last`"), "{error}");
        is_as_it_was(folder.path());
        assert!(!folder.path().join("x").exists(), "an empty folder is left");
    }

    #[test]
    fn a_file_that_cannot_be_put_in_place_takes_the_others_back() {
        let (folder, error) =
            made_after(|folder| fs::create_dir_all(folder.join("y/last/in")).unwrap());
        assert!(error.starts_with("nothing was changed: cannot change `y/last`"), "{error}");
        is_as_it_was(folder.path());
    }

    #[test]
    fn what_cannot_be_taken_back_is_named() {
        let (_folder, error) = made_after(|folder| {
            fs::remove_file(folder.join("gone")).unwrap();
            fs::create_dir_all(folder.join("gone/in")).unwrap();
        });
        assert!(error.contains("cannot change `gone`"), "{error}");
        assert!(error.contains("it could not be taken back in `gone`"), "{error}");
    }
}
