//! A Markdown table of the cost of a HIT.

use crate::candidates::Candidate;
use crate::counts;
use crate::load::Load;
use crate::throughput::{ALL_ROUNDS, Measured};

const LOADS: [Load; 3] = [Load::small(1, 1), Load::small(1, 32), Load::small(1, 128)];

/// The load under which instructions are counted.
const COUNTED: Load = Load::small(1, 8);

pub(crate) fn print() {
    let measured = LOADS.map(Measured::under);
    let instructions: Vec<f64> = Candidate::ALL
        .iter()
        .map(|candidate| counts::instructions(*candidate, COUNTED))
        .collect();
    println!(
        "\nHITs of {} bytes from a server with {} worker thread. c: connections. Requests per second are medians\n\
         of {ALL_ROUNDS} rounds; valgrind counts the instructions. The numbers in parentheses are relative to the\n\
         bare handler, in the same run.\n",
        LOADS[0].size, LOADS[0].threads
    );
    print!("| ");
    for load in LOADS {
        print!("| requests/s, c = {} ", load.connections);
    }
    println!("| instructions per HIT |");
    println!("| --- {}| ---: |", "| ---: ".repeat(LOADS.len()));
    for &candidate in Candidate::ALL {
        print!("| {} ", candidate.markdown());
        for measured in &measured {
            let per_second = measured.median(candidate, |round| round.sample.per_second);
            let ratio = measured.ratio(candidate, Candidate::Bare);
            print!("| {} ({ratio:.2}) ", grouped(per_second));
        }
        let own = instructions[candidate as usize];
        let ratio = own / instructions[Candidate::Bare as usize];
        println!("| {} ({ratio:.2}) |", grouped(own));
    }
}

/// Returns a whole number with commas between the thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
