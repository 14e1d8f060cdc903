//! Hashes of bytes.

use arrow::array::ArrayRef;
use datafusion::error::Result;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::{Sha256, Sha512};
use twox_hash::XxHash64;

use super::spooky;
use crate::{Call, Scalar, invalid};

const ONE: &[&str] = &["(varbinary) -> varbinary"];
const WITH_KEY: &[&str] = &["(varbinary, varbinary) -> varbinary"];

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("crc32", &["(varbinary) -> bigint"], crc32, "The checksum CRC-32 of bytes."),
    Scalar::new("hmac_md5", WITH_KEY, hmac::<Hmac<Md5>>, "The code of bytes with a key by HMAC and MD5."),
    Scalar::new("hmac_sha1", WITH_KEY, hmac::<Hmac<Sha1>>, "The code of bytes with a key by HMAC and SHA-1."),
    Scalar::new("hmac_sha256", WITH_KEY, hmac::<Hmac<Sha256>>, "The code of bytes with a key by HMAC and SHA-256."),
    Scalar::new("hmac_sha512", WITH_KEY, hmac::<Hmac<Sha512>>, "The code of bytes with a key by HMAC and SHA-512."),
    Scalar::new("md5", ONE, digest::<Md5>, "The hash MD5 of bytes."),
    Scalar::new("murmur3", ONE, murmur3, "The hash Murmur3 of bytes, of 128 bits."),
    Scalar::new("sha1", ONE, digest::<Sha1>, "The hash SHA-1 of bytes."),
    Scalar::new("sha256", ONE, digest::<Sha256>, "The hash SHA-256 of bytes."),
    Scalar::new("sha512", ONE, digest::<Sha512>, "The hash SHA-512 of bytes."),
    Scalar::new("spooky_hash_v2_32", ONE, spooky_32, "The lower 32 bits of the hash SpookyHashV2 of bytes."),
    Scalar::new("spooky_hash_v2_64", ONE, spooky_64, "The hash SpookyHashV2 of bytes, of 64 bits."),
    Scalar::new("xxhash64", ONE, xxhash64, "The hash xxHash64 of bytes."),
];

fn crc32(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.bigints(|row| Ok(Some(i64::from(crc32fast::hash(bytes.value(row))))))
}

fn digest<D: Digest>(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.binaries(|row| Ok(Some(D::digest(bytes.value(row)))))
}

fn hmac<M: Mac + KeyInit>(call: &Call<'_>) -> Result<ArrayRef> {
    let (bytes, keys) = (call.bytes(0)?, call.bytes(1)?);
    call.binaries(|row| {
        let mut code = <M as KeyInit>::new_from_slice(keys.value(row)).map_err(|error| invalid(format!("the key is wrong: {error}")))?;
        code.update(bytes.value(row));
        Ok(Some(code.finalize().into_bytes()))
    })
}

fn murmur3(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.binaries(|row| Ok(Some(murmur3::murmur3_x64_128(&mut bytes.value(row), 0)?.to_le_bytes())))
}

fn spooky_32(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.binaries(|row| Ok(Some((spooky::hash(bytes.value(row)) as u32).to_be_bytes())))
}

fn spooky_64(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.binaries(|row| Ok(Some(spooky::hash(bytes.value(row)).to_be_bytes())))
}

fn xxhash64(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.binaries(|row| Ok(Some(XxHash64::oneshot(0, bytes.value(row)).to_be_bytes())))
}
