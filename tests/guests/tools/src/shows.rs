//! Things to look at: Conway's life, the Mandelbrot set.

use alloc::vec;
use alloc::vec::Vec;

use sys::signal::{self, Action};
use sys::text::number;
use sys::{print, println};

use crate::{Args, usage};

pub fn clear(_: &Args) -> i32 {
    print!("\x1b[H\x1b[2J\x1b[3J");
    0
}

/// A torus of cells.
struct World {
    rows: usize,
    columns: usize,
    cells: Vec<bool>,
}

impl World {
    fn alive(&self, row: usize, column: usize) -> bool {
        self.cells[row % self.rows * self.columns + column % self.columns]
    }

    fn next(&self) -> World {
        let mut cells = Vec::with_capacity(self.cells.len());
        for row in 0..self.rows {
            for column in 0..self.columns {
                let mut around = 0;
                for (down, right) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)] {
                    let (row, column) = (row + self.rows + down - 1, column + self.columns + right - 1);
                    around += usize::from(self.alive(row, column));
                }
                cells.push(around == 3 || around == 2 && self.alive(row, column));
            }
        }
        World { cells, ..*self }
    }

    /// Two cells of a column in one character: half blocks.
    fn draw(&self) {
        for row in (0..self.rows).step_by(2) {
            for column in 0..self.columns {
                print!(
                    "{}",
                    match (self.alive(row, column), self.alive(row + 1, column)) {
                        (true, true) => '█',
                        (true, false) => '▀',
                        (false, true) => '▄',
                        (false, false) => ' ',
                    }
                );
            }
            print!("\x1b[K\r\n");
        }
    }
}

/// The gun fires gliders into a field of methuselahs, the same each time.
fn first_world(rows: usize, columns: usize) -> World {
    const GUN: [&str; 9] = [
        "........................#...........",
        "......................#.#...........",
        "............##......##............##",
        "...........#...#....##............##",
        "##........#.....#...##..............",
        "##........#...#.##....#.#...........",
        "..........#.....#.......#...........",
        "...........#...#....................",
        "............##......................",
    ];
    const R_PENTOMINO: [&str; 3] = [".##", "##.", ".#."];
    let mut world = World { rows, columns, cells: vec![false; rows * columns] };
    let mut place = |top: usize, left: usize, shape: &[&str]| {
        for (row, line) in shape.iter().enumerate() {
            for (column, cell) in line.bytes().enumerate() {
                let at = (top + row) % rows * columns + (left + column) % columns;
                world.cells[at] |= cell == b'#';
            }
        }
    };
    place(1, 1, &GUN);
    place(rows * 2 / 3, columns * 3 / 4, &R_PENTOMINO);
    world
}

pub fn life(args: &Args) -> i32 {
    let generations = match args.first() {
        None => u64::MAX,
        Some(text) => match number(text).and_then(|count| u64::try_from(count).ok()) {
            Some(count) => count,
            None => return usage("life"),
        },
    };
    let (rows, columns) = sys::tty::size(1);
    let moving = sys::tty::is_tty(1);
    let mut world = first_world(rows.saturating_sub(2).max(6) * 2, columns.max(40));
    let _ = signal::on(signal::INT, Action::Note);
    if moving {
        print!("\x1b[2J\x1b[?25l");
    }
    let mut generation = 0;
    while generation < generations && !signal::taken(signal::INT) {
        world = world.next();
        generation += 1;
        if moving {
            print!("\x1b[H");
            world.draw();
            let living = world.cells.iter().filter(|&&cell| cell).count();
            print!("generation {generation}, {living} cells, Ctrl-C ends\x1b[K");
            sys::io::flush();
            let _ = sys::time::sleep_ns(60_000_000);
        }
    }
    if moving {
        println!("\x1b[?25h");
    } else {
        let living = world.cells.iter().filter(|&&cell| cell).count();
        println!("generation {generation}: {living} of {} cells", world.cells.len());
    }
    0
}

pub fn mandel(args: &Args) -> i32 {
    let (rows, columns) = match args.as_slice() {
        [] => {
            let (rows, columns) = sys::tty::size(1);
            (rows.saturating_sub(2).clamp(8, 60), columns.clamp(16, 200))
        }
        [columns, rows] => match (number(rows), number(columns)) {
            (Some(rows @ 1..=1000), Some(columns @ 1..=1000)) => (rows as usize, columns as usize),
            _ => return usage("mandel"),
        },
        _ => return usage("mandel"),
    };
    const SHADES: &[u8] = b" .:-=+*#%@";
    /// Night to noon to evening, of the 256 colours; black inside.
    const COLOURS: [u8; 22] =
        [17, 18, 19, 25, 26, 32, 38, 44, 80, 116, 152, 188, 230, 229, 222, 221, 215, 209, 203, 167, 125, 53];
    const LIMIT: usize = 250;
    let colours = sys::tty::is_tty(1);
    for row in 0..rows {
        let y = (row as f64 + 0.5) / rows as f64 * 2.4 - 1.2;
        for column in 0..columns {
            let x = (column as f64 + 0.5) / columns as f64 * 3.2 - 2.2;
            let steps = escape_steps(x, y, LIMIT);
            let shade = if steps == LIMIT { SHADES.len() - 1 } else { steps % (SHADES.len() - 1) };
            if colours {
                let colour = if steps == LIMIT { 16 } else { COLOURS[steps % COLOURS.len()] };
                print!("\x1b[48;5;{colour}m ");
            } else {
                print!("{}", SHADES[shade] as char);
            }
        }
        println!("{}", if colours { "\x1b[0m" } else { "" });
    }
    0
}

/// How many steps until z = z² + c leaves the circle of radius 2.
fn escape_steps(cx: f64, cy: f64, limit: usize) -> usize {
    let (mut x, mut y) = (0.0, 0.0);
    for step in 0..limit {
        let (xx, yy) = (x * x, y * y);
        if xx + yy > 4.0 {
            return step;
        }
        y = 2.0 * x * y + cy;
        x = xx - yy + cx;
    }
    limit
}
