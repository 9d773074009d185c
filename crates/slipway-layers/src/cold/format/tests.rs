#![allow(clippy::unwrap_used)]

use super::*;
use slipway_types::LayerKind;

const IMAGE: u64 = 3 * SPAN_BYTES as u64 + 100_000;

fn layer() -> LayerRef {
    LayerRef::new(LayerKind::Dependencies, "abc")
}

fn index(entries: Vec<Entry>) -> Index {
    let mut digester = Digester::new(IMAGE);
    entries.iter().for_each(|entry| digester.add(entry.number, &entry.digest));
    Index { image_bytes: IMAGE, digest: digester.finish(), entries }
}

fn entry(number: u32, map: u64, frame_bytes: u32) -> Entry {
    Entry { number, map, frame_bytes, digest: [number as u8; 32] }
}

fn good() -> Index {
    index(vec![entry(0, u64::MAX, 500), entry(2, 1 << 63, 7), entry(3, 0b11, 90)])
}

/// Decodes what was encoded, as if the object were `extra` bytes longer than it says.
fn again(index: &Index, extra: i64) -> Result<Index, FormatError> {
    let tail = index.encode(&layer());
    let frames: u64 = index.entries.iter().map(|entry| u64::from(entry.frame_bytes)).sum();
    let object_bytes = (HEADER_BYTES + frames + tail.len() as u64).strict_add_signed(extra);
    let trailer = Trailer::read(&tail, object_bytes)?;
    let start = tail.len() - TRAILER_BYTES - trailer.index_bytes;
    Index::decode(&tail[start..tail.len() - TRAILER_BYTES], &trailer, &layer(), object_bytes)
}

#[test]
fn an_index_comes_back_as_it_was() {
    let index = good();
    assert_eq!(again(&index, 0).unwrap(), index);
    let short: Vec<_> = index.entries[2].blocks(IMAGE).collect();
    let start = 3 * SPAN_BYTES as u64;
    assert_eq!(short, [(start, BLOCK_BYTES), (start + BLOCK_BYTES as u64, 100_000 - BLOCK_BYTES)]);
    assert_eq!(index.data_bytes(), SPAN_BYTES as u64 + BLOCK_BYTES as u64 + 100_000);
    let empty = super::Index { entries: Vec::new(), ..self::index(Vec::new()) };
    assert_eq!(again(&empty, 0).unwrap(), empty);
}

#[test]
fn an_index_that_claims_what_cannot_be_is_refused() {
    for (what, entries) in [
        ("out of order", vec![entry(2, 1, 5), entry(0, 1, 5)]),
        ("twice", vec![entry(2, 1, 5), entry(2, 1, 5)]),
        ("behind the end", vec![entry(4, 1, 5)]),
        ("far behind the end", vec![entry(u32::MAX, 1, 5)]),
        ("a block behind the end", vec![entry(3, 0b100, 5)]),
        ("no block", vec![entry(1, 0, 5)]),
        ("no frame", vec![entry(1, 1, 0)]),
        ("a frame that is too long", vec![entry(1, 1, FRAME_BYTES_MAX as u32 + 1)]),
    ] {
        assert_eq!(again(&index(entries), 0), Err(FormatError::Damaged), "{what}");
    }
    let long = Index { image_bytes: IMAGE_BYTES_MAX + 1, ..good() };
    assert_eq!(again(&long, 0), Err(FormatError::Damaged));
    let other = Index { digest: LayerDigest::from_bytes([7; 32]), ..good() };
    assert_eq!(again(&other, 0), Err(FormatError::Damaged));
    for extra in [-1, 1, 4096] {
        assert_eq!(again(&good(), extra), Err(FormatError::Damaged), "an object that is {extra} bytes longer");
    }
}

#[test]
fn no_changed_or_missing_byte_is_accepted() {
    let tail = good().encode(&layer());
    let object_bytes = HEADER_BYTES + 597 + tail.len() as u64;
    let decode = |tail: &[u8], object_bytes: u64| {
        let trailer = Trailer::read(tail, object_bytes)?;
        let end = tail.len() - TRAILER_BYTES;
        let start = end.checked_sub(trailer.index_bytes).ok_or(FormatError::Damaged)?;
        Index::decode(&tail[start..end], &trailer, &layer(), object_bytes)
    };
    assert_eq!(decode(&tail, object_bytes).unwrap(), good());
    for at in 0..tail.len() {
        for bit in [1, 0x80] {
            let mut broken = tail.clone();
            broken[at] ^= bit;
            assert!(decode(&broken, object_bytes).is_err(), "byte {at}");
        }
        assert!(decode(&tail[..at], object_bytes - (tail.len() - at) as u64).is_err(), "cut at {at}");
    }
}

#[test]
fn the_object_of_another_layer_and_of_a_later_version_are_refused() {
    let tail = good().encode(&LayerRef::new(LayerKind::Dependencies, "abd"));
    let object_bytes = HEADER_BYTES + 597 + tail.len() as u64;
    let trailer = Trailer::read(&tail, object_bytes).unwrap();
    let end = tail.len() - TRAILER_BYTES;
    let refused = Index::decode(&tail[end - trailer.index_bytes..end], &trailer, &layer(), object_bytes);
    assert_eq!(refused, Err(FormatError::OtherLayer));
    let mut later = tail.clone();
    later[end + 4] = 2;
    assert_eq!(Trailer::read(&later, object_bytes).err(), Some(FormatError::UnknownVersion(2)));
}
