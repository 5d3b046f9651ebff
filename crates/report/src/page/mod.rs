//! The page `report.html`: one file that needs no other.

mod classes;
mod confusion;
mod data;
mod epochs;
pub(crate) mod headline;
pub(crate) mod html;
mod mistakes;
mod settings;

pub(crate) use settings::date;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use trainer::{Evaluation, Measured};

use crate::Result;
use crate::answers::Chosen;
use crate::escape::escaped;
use crate::material::{Images, Material};
use crate::svg::page_rules;
use crate::thumbs::Thumbs;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// A sheet with three bars.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='3' fill='%230b62a4'/%3E%3Cpath d='M4 12V8M8 12V4M12 12V6' stroke='%23fff' stroke-width='2'/%3E%3C/svg%3E";

/// What the sections read.
pub(crate) struct Context<'a> {
    pub(crate) material: &'a Material,
    pub(crate) images: &'a Images<'a>,
    pub(crate) chosen: &'a Chosen,
    pub(crate) thumbs: &'a Thumbs,
    /// The numbers of the images that the sections show, so that the script's data need not repeat them.
    pub(crate) placed: RefCell<BTreeSet<usize>>,
}

impl Context<'_> {
    /// The scores, and the images they belong to.
    fn scores(&self) -> Option<(&Evaluation, Measured)> {
        self.material.scores()
    }

    /// The name of a class.
    fn name(&self, label: usize) -> &str {
        let class = self
            .scores()
            .and_then(|(scores, _)| scores.classes.get(label));
        class.map_or("?", |class| &class.name)
    }

    /// The command that trains the run to its end, if the run is known.
    fn resume(&self) -> Option<String> {
        let run = self.material.run.as_ref()?;
        Some(format!("classify train --resume {}", crate::quoted(run)))
    }
}

/// The whole page.
///
/// # Errors
///
/// [`Error::Picture`](crate::Error::Picture), [`Error::Run`](crate::Error::Run).
pub(crate) fn page(context: &Context) -> Result<String> {
    let material = context.material;
    let sections = [
        ("result", "Result", Some(headline::section(context))),
        ("data", "Images", data::section(context)?),
        ("curves", "Learning curves", epochs::curves(context)),
        ("confusion", "Confusion", confusion::section(context)?),
        ("mistakes", "Mistakes", mistakes::section(context)),
        ("classes", "Classes", classes::section(context)),
        (
            "ranking",
            "ROC and precision–recall",
            classes::ranking(context),
        ),
        ("reliability", "Reliability", classes::reliability(context)),
        ("time", "Time", epochs::time(context)),
        ("settings", "Settings", Some(settings::section(context))),
    ];
    let present = || {
        sections
            .iter()
            .filter_map(|(id, name, body)| Some((id, name, body.as_ref()?)))
    };
    let links: String = present()
        .map(|(id, name, _)| format!("<li><a href=\"#{id}\">{name}</a></li>"))
        .collect();
    let bodies: String = present().map(|(_, _, body)| &body[..]).collect();
    let title = match material.run.is_some() {
        true => format!("Training run {}", material.name),
        false => format!("Evaluation of {}", material.name),
    };
    let style = format!("{STYLE}{}", page_rules());
    let policy = format!(
        "default-src 'none'; img-src data:; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'",
        hash(&style),
        hash(SCRIPT)
    );
    let title = escaped(&title);
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n<link rel=\"icon\" href=\"{ICON}\">\n<style>{style}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">Skip to the result</a>\n<header>\n<h1>{title}</h1>\n<p class=\"sub\">{}</p>\n\
         <nav aria-label=\"Sections\"><ul>{links}</ul></nav>\n</header>\n<main id=\"main\">\n{bodies}</main>\n\
         <footer><p>Made by classify {}. This file needs no other file and no network.</p></footer>\n\
         <script type=\"application/json\" id=\"cells\">{}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        headline::subtitle(context),
        env!("CARGO_PKG_VERSION"),
        confusion::cells(context)
    );
    Ok(page)
}

/// A source expression of the Content Security Policy.
fn hash(text: &str) -> String {
    format!(
        "sha256-{}",
        STANDARD.encode(Sha256::digest(text.as_bytes()))
    )
}
