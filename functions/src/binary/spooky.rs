//! SpookyHash V2 by Bob Jenkins (<https://burtleburtle.net/bob/hash/spooky.html>), with a seed of 0.

/// What stands for no data. Any odd number would do.
const FILLING: u64 = 0xdead_beef_dead_beef;

/// Bytes of less than this are hashed with a state of four words, others with one of twelve.
const LONG_BYTES_MIN: usize = 192;

const BLOCK_BYTES: usize = 96;
const WORDS: usize = 12;

const SHORT_MIX: [u32; 12] = [50, 52, 30, 41, 54, 48, 38, 37, 62, 34, 5, 36];
const SHORT_END: [u32; 11] = [15, 52, 26, 51, 28, 9, 47, 54, 32, 25, 63];
const LONG_MIX: [u32; WORDS] = [11, 32, 43, 31, 17, 28, 39, 57, 55, 54, 22, 46];
const LONG_END: [u32; WORDS] = [44, 15, 34, 21, 38, 33, 10, 13, 38, 53, 42, 54];

/// The hash of 64 bits.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    if bytes.len() < LONG_BYTES_MIN { short(bytes) } else { long(bytes) }
}

/// A word of at most eight bytes, the lowest first.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

fn short(bytes: &[u8]) -> u64 {
    let mut state = [0, 0, FILLING, FILLING];
    let (pairs, rest) = bytes.as_chunks::<16>();
    for (place, pair) in pairs.iter().enumerate() {
        let (low, high) = pair.split_at(8);
        // Of two pairs the first goes to the upper words of the state, the second to the lower ones.
        let first = if place.is_multiple_of(2) { 2 } else { 0 };
        add(&mut state, first, word(low));
        add(&mut state, first + 1, word(high));
        if place.is_multiple_of(2) {
            short_mix(&mut state);
        }
    }
    add(&mut state, 3, (bytes.len() as u64) << 56);
    if rest.is_empty() {
        add(&mut state, 2, FILLING);
        add(&mut state, 3, FILLING);
    } else {
        let (low, high) = rest.split_at(rest.len().min(8));
        add(&mut state, 2, word(low));
        add(&mut state, 3, word(high));
    }
    for (step, rotation) in SHORT_END.iter().enumerate() {
        let (from, to) = ((step + 2) % 4, (step + 3) % 4);
        state[to] ^= state[from];
        state[from] = state[from].rotate_left(*rotation);
        let rotated = state[from];
        add(&mut state, to, rotated);
    }
    state[0]
}

fn short_mix(state: &mut [u64; 4]) {
    for (step, rotation) in SHORT_MIX.iter().enumerate() {
        let place = (step + 2) % 4;
        state[place] = state[place].rotate_left(*rotation).wrapping_add(state[(place + 1) % 4]);
        state[(place + 2) % 4] ^= state[place];
    }
}

fn long(bytes: &[u8]) -> u64 {
    let mut state = [0_u64; WORDS];
    for place in (2..WORDS).step_by(3) {
        state[place] = FILLING;
    }
    let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
    for block in blocks {
        for (place, data) in block.chunks(8).enumerate() {
            let (next, last) = ((place + 1) % WORDS, (place + 11) % WORDS);
            add(&mut state, place, word(data));
            state[(place + 2) % WORDS] ^= state[(place + 10) % WORDS];
            state[last] ^= state[place];
            state[place] = state[place].rotate_left(LONG_MIX[place]);
            let other = state[next];
            add(&mut state, last, other);
        }
    }
    let mut block = [0; BLOCK_BYTES];
    block[..rest.len()].copy_from_slice(rest);
    block[BLOCK_BYTES - 1] = rest.len() as u8;
    for (place, data) in block.chunks(8).enumerate() {
        add(&mut state, place, word(data));
    }
    for _ in 0..3 {
        for (place, rotation) in LONG_END.iter().enumerate() {
            let (next, last) = ((place + 1) % WORDS, (place + 11) % WORDS);
            let other = state[next];
            add(&mut state, last, other);
            state[(place + 2) % WORDS] ^= state[last];
            state[next] = state[next].rotate_left(*rotation);
        }
    }
    state[0]
}

fn add(state: &mut [u64], place: usize, value: u64) {
    state[place] = state[place].wrapping_add(value);
}
