//! Figures in rows and columns: for people, and as JSON.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Figures; what was not measured is empty.
#[derive(Debug)]
pub struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<(String, Vec<Option<f64>>)>,
}

impl Table {
    /// Without rows. `title` says what the figures are.
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Table {
        Table {
            title: title.into(),
            columns: columns.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
        }
    }

    /// Add a row. A bench takes its time: the row is also told now.
    pub fn row(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = Option<f64>>) {
        let (name, cells) = (name.into(), cells.into_iter().collect::<Vec<_>>());
        eprintln!("{name}: {}", cells.iter().map(text).collect::<Vec<_>>().join(" "));
        self.rows.push((name, cells));
    }

    /// Each cell of the row `name` divided by that of `by`.
    pub fn ratio(&mut self, name: impl Into<String>, of: &str, by: &str) {
        let cells = |name: &str| &self.rows.iter().find(|row| row.0 == name).expect("it was added").1;
        let divided =
            cells(of).iter().zip(cells(by)).map(|(of, by)| Some((*of)? / (*by)?)).collect::<Vec<_>>();
        self.row(name, divided);
    }

    /// Columns aligned, the first to the left.
    pub fn print(&self) {
        println!("{}", self.title);
        let head = std::iter::once(String::new()).chain(self.columns.iter().cloned());
        let mut lines: Vec<Vec<String>> = vec![head.collect()];
        for (name, cells) in &self.rows {
            lines.push(std::iter::once(name.clone()).chain(cells.iter().map(text)).collect());
        }
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..).map_while(width).collect();
        for line in &lines {
            let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        println!();
    }

    fn json(&self) -> Value {
        let row = |(name, cells): &(String, Vec<Option<f64>>)| json!({ "name": name, "cells": cells });
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        json!({ "title": self.title, "columns": self.columns, "rows": rows })
    }
}

/// Three digits.
fn text(cell: &Option<f64>) -> String {
    match cell {
        None => String::new(),
        Some(figure) if figure.abs() >= 99.95 => format!("{figure:.0}"),
        Some(figure) if figure.abs() >= 9.995 => format!("{figure:.1}"),
        Some(figure) => format!("{figure:.2}"),
    }
}

/// Writes tables, and what was typed, to `path`.
pub fn save(tables: &[Table], runs: usize, path: &Path) -> Result<()> {
    let command: Vec<String> = std::env::args().collect();
    let tables: Vec<Value> = tables.iter().map(Table::json).collect();
    let report = json!({ "command": command.join(" "), "runs": runs, "tables": tables });
    std::fs::write(path, format!("{report:#}\n")).with_context(|| format!("cannot write {}", path.display()))
}
