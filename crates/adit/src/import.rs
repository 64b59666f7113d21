//! `adit import`: `wg-quick` files and share links become YAML on standard output.

use std::collections::HashSet;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::process::ExitCode;

use adit_config::Source;
use adit_config::import::{self, Import};
use anyhow::Context as _;

use crate::cli::ImportArgs;

/// Prints all of it, or, when something is wrong with any of them, only what.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn import(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let Some(imports) = gather(&args.sources)? else { return Ok(ExitCode::FAILURE) };
    print!("{}", if args.full { import::config(&imports) } else { import::proxies(&imports) });
    Ok(ExitCode::SUCCESS)
}

/// Reads every source and reports on standard error what is wrong or not kept. `None` if something is wrong.
fn gather(sources: &[String]) -> anyhow::Result<Option<Vec<Import>>> {
    let mut imports = Vec::new();
    let mut good = true;
    for source in sources {
        if source.contains("://") && !Path::new(source).exists() {
            match import::link(source) {
                Ok(import) => imports.push(import),
                Err(why) => {
                    good = false;
                    eprintln!("adit: {why}"); // not the link itself: it is full of secrets
                }
            }
            continue;
        }
        let (found, problems) = match read(source)? {
            Ok(source) => import::file(&source),
            Err(problems) => (Vec::new(), problems),
        };
        eprint!("{}", problems.render(std::io::stderr().is_terminal()));
        good &= !problems.has_errors();
        imports.extend(found);
    }
    Ok(good.then(|| distinct(imports)))
}

/// A file, or standard input for `-`. The inner error is a file that is no text.
fn read(name: &str) -> anyhow::Result<Result<Source, adit_config::Problems>> {
    if name == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("reading standard input")?;
        return Ok(Source::from_bytes("<stdin>", bytes, "."));
    }
    let bytes = std::fs::read(name).with_context(|| format!("cannot read {name}"))?;
    Ok(Source::from_bytes(name, bytes, "."))
}

/// Numbers those that are called the same.
fn distinct(imports: Vec<Import>) -> Vec<Import> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut renamed = Vec::with_capacity(imports.len());
    for import in imports {
        let name = import.name().to_owned();
        let mut numbered = (2..).map(|number| format!("{name}-{number}"));
        let import = if taken.contains(&name) {
            let free = numbered.find(|name| !taken.contains(name)).unwrap_or(name);
            import.renamed(free)
        } else {
            import
        };
        taken.insert(import.name().to_owned());
        renamed.push(import);
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "socks5://192.0.2.1:1080#office";

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_and_files_come_out_together_under_names_of_their_own() {
        let folder = std::env::temp_dir().join(format!("adit-import-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("office.conf");
        let text = "[Interface]\nPrivateKey = eCtXsJZ27+4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU=\nAddress = 10.0.0.2\n\
                    [Peer]\nPublicKey = Cr8hWlKvtDt7nrvf+f0brNQQzabAqrjfBvas9pmowjo=\nAllowedIPs = 0.0.0.0/0\n\
                    Endpoint = 192.0.2.1:51820\n";
        std::fs::write(&file, text).unwrap();
        let imports = gather(&strings(&[LINK, file.to_str().unwrap(), LINK])).unwrap().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let names: Vec<&str> = imports.iter().map(Import::name).collect();
        assert_eq!(names, ["office", "office-2", "office-3"]);
        let source = Source {
            name: "x".into(),
            text: import::config(&imports),
            home: ".".into(),
            overrides: Default::default(),
        };
        assert!(adit_config::load(&source).plan.is_some());
    }

    #[test]
    fn nothing_comes_out_when_one_of_them_is_wrong() {
        assert!(gather(&strings(&[LINK, "vmess://x"])).unwrap().is_none());
        assert!(gather(&strings(&["/nonexistent/adit.conf"])).is_err());
    }
}
