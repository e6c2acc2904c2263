//! The prompts of a flow: WAV files, and texts that a local program speaks once.

use std::collections::HashMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::sound::read_wav;

/// How long a program may speak one text into a file.
const SPEAKING: Duration = Duration::from_secs(30);

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The longest text.
const LONGEST_TEXT: usize = 4096;

/// How texts are spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Voice {
    /// A program and its arguments; `{text}` and `{file}` in them are replaced. No shell is between.
    command: Vec<String>,
}

impl Voice {
    /// `flite VOICE`, `espeak-ng VOICE`.
    pub(super) fn named(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let arguments: &[&str] = match (words.next(), words.next(), words.next()) {
            (Some("flite"), Some(name), None) => {
                &["flite", "-voice", name, "-t", "{text}", "-o", "{file}"]
            }
            (Some("flite"), None, None) => &["flite", "-t", "{text}", "-o", "{file}"],
            (Some("espeak-ng"), Some(name), None) => {
                &["espeak-ng", "-v", name, "-w", "{file}", "--", "{text}"]
            }
            (Some("espeak-ng"), None, None) => &["espeak-ng", "-w", "{file}", "--", "{text}"],
            _ => {
                return Err(format!(
                    "voice {text:?} is not known (there are \"flite VOICE\" and \"espeak-ng VOICE\"; command takes any other program)"
                ));
            }
        };
        Ok(Self {
            command: arguments.iter().map(|word| (*word).to_owned()).collect(),
        })
    }

    /// Any program.
    pub(super) fn command(command: Vec<String>) -> Result<Self, String> {
        for placeholder in ["{text}", "{file}"] {
            if !command
                .iter()
                .skip(1)
                .any(|word| word.contains(placeholder))
            {
                return Err(format!("command has no argument with {placeholder} in it"));
            }
        }
        Ok(Self { command })
    }

    /// Where the text's sound is kept: a name made of everything that it depends on.
    fn file(&self, cache: &Path, text: &str) -> PathBuf {
        let mut digest = Sha256::new();
        for word in self.command.iter().map(String::as_str).chain([text]) {
            digest.update((word.len() as u64).to_le_bytes());
            digest.update(word);
        }
        let mut name = String::new();
        for byte in digest.finalize().iter().take(16) {
            let _ = write!(name, "{byte:02x}");
        }
        cache.join(name + ".wav")
    }

    /// Speaks a text into a file.
    fn speak(&self, text: &str, file: &Path) -> Result<(), String> {
        let mut words = self.command.iter().map(|word| {
            word.replace("{file}", &file.to_string_lossy())
                .replace("{text}", text)
        });
        let program = words.next().unwrap_or_default();
        let mut child = Command::new(&program)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{program} cannot be run: {error}"))?;
        let until = Instant::now() + SPEAKING;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("{program} failed: {status}")),
                Ok(None) if Instant::now() < until => sleep(LOOK_EVERY),
                Ok(None) => {
                    // it may be gone just now
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!(
                        "{program} took longer than {} s",
                        SPEAKING.as_secs()
                    ));
                }
                Err(error) => return Err(format!("{program}: {error}")),
            }
        }
    }
}

/// Reads prompts, each once.
#[derive(Debug)]
pub(super) struct Prompts {
    dir: PathBuf,
    voice: Option<Voice>,
    cache: PathBuf,
    read: HashMap<String, Result<Bytes, String>>,
}

impl Prompts {
    pub(super) fn new(dir: PathBuf, voice: Option<Voice>, cache: Option<PathBuf>) -> Self {
        Self {
            dir,
            voice,
            cache: cache.unwrap_or_else(default_cache),
            read: HashMap::new(),
        }
    }

    /// The sound of a WAV file or of a text.
    pub(super) fn get(&mut self, prompt: &str) -> Result<Bytes, String> {
        if let Some(known) = self.read.get(prompt) {
            return known.clone();
        }
        let sound = if is_file(prompt) {
            let path = self.dir.join(prompt);
            read_wav(&path).map_err(|error| format!("prompt {}: {error}", path.display()))
        } else {
            self.spoken(prompt)
        };
        self.read.insert(prompt.to_owned(), sound.clone());
        sound
    }

    fn spoken(&self, text: &str) -> Result<Bytes, String> {
        if text.trim().is_empty() {
            return Err("a prompt is empty".to_owned());
        }
        if text.len() > LONGEST_TEXT {
            return Err(format!("a prompt is longer than {LONGEST_TEXT} bytes"));
        }
        if text.contains("${") {
            return Err(format!(
                "texts are spoken before the call, so ${{…}} cannot stand in one: {text:?}"
            ));
        }
        let voice = self.voice.as_ref().ok_or_else(|| {
            format!(
                "{text:?} is no .wav file, and prompts has neither voice nor command to speak it"
            )
        })?;
        let kept = voice.file(&self.cache, text);
        if let Ok(sound) = read_wav(&kept) {
            return Ok(sound);
        }
        // another name until it is whole, so that nobody reads half of it
        let draft = kept.with_extension(format!(
            "{}-{:08x}.wav",
            std::process::id(),
            rand::random::<u32>()
        ));
        let spoken = fs::create_dir_all(&self.cache)
            .map_err(|error| {
                format!(
                    "prompts cannot be kept in {}: {error}",
                    self.cache.display()
                )
            })
            .and_then(|()| voice.speak(text, &draft))
            .and_then(|()| {
                read_wav(&draft).map_err(|error| format!("what was spoken is no sound: {error}"))
            });
        let kept_it: io::Result<()> = match &spoken {
            Ok(_) => fs::rename(&draft, &kept),
            Err(_) => fs::remove_file(&draft),
        };
        if let (Ok(_), Err(error)) = (&spoken, &kept_it) {
            tracing::warn!(%error, "a spoken prompt is not kept");
        }
        spoken
    }
}

/// Whether a prompt is a file; it is a text otherwise.
fn is_file(prompt: &str) -> bool {
    prompt.len() > 4 && prompt.to_ascii_lowercase().ends_with(".wav")
}

fn default_cache() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let base = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(env::temp_dir);
    base.join("handback").join("prompts")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            env::temp_dir().join(format!("handback-prompts-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// A voice that says the same file to everything, and counts how often in another.
    fn parrot(folder: &Path) -> Voice {
        let sound = folder.join("sound.wav");
        fs::write(&sound, include_bytes!("../../../assets/one_moment.wav")).unwrap();
        let script = format!(
            "cp {} \"$1\" && echo \"$2\" >> {}",
            sound.display(),
            folder.join("said").display()
        );
        let words = ["sh", "-c", &script, "sh", "{file}", "{text}"];
        Voice::command(words.map(str::to_owned).to_vec()).unwrap()
    }

    #[test]
    fn text_is_spoken_once_and_kept_for_the_next_start() {
        let folder = folder("kept");
        let prompts = || {
            Prompts::new(
                folder.clone(),
                Some(parrot(&folder)),
                Some(folder.join("cache")),
            )
        };
        let text = "It's \"quoted\"; $(not) run";
        let first = prompts().get(text).unwrap();
        assert_eq!(prompts().get(text).unwrap(), first);
        let said = fs::read_to_string(folder.join("said")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(said, format!("{text}\n"));
    }

    #[test]
    fn voice_that_fails_is_named() {
        let folder = folder("fails");
        let words = |program: &str| vec![program.to_owned(), "{text}{file}".to_owned()];
        for (program, expected) in [
            ("false", "false failed"),
            ("no-such-voice", "cannot be run"),
            ("true", "no sound"),
        ] {
            let voice = Voice::command(words(program)).unwrap();
            let mut prompts = Prompts::new(folder.clone(), Some(voice), Some(folder.join("cache")));
            let problem = prompts.get("hello").unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
        fs::remove_dir_all(&folder).unwrap();
        assert!(Voice::named("siri").unwrap_err().contains("siri"));
        assert!(Voice::command(vec!["x".to_owned(), "{text}".to_owned()]).is_err());
    }
}
