#!/usr/bin/env python3
"""Prints vectors.rs: a WireGuard handshake and a packet each way, computed from the whitepaper (sections 5.4.2 to 5.4.6)
with Python's hashlib, hmac and the `cryptography` package, which share no code with what they test.

Usage: python3 vectors.py > vectors.rs && rustfmt --edition 2024 vectors.rs"""

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def hash_(data):
    return hashlib.blake2s(data).digest()


def mac(key, data):
    return hashlib.blake2s(data, key=key, digest_size=16).digest()


def kdf(count, key, data):
    secret = hmac.new(key, data, hashlib.blake2s).digest()
    keys, last = [], b""
    for n in range(1, count + 1):
        last = hmac.new(secret, last + bytes([n]), hashlib.blake2s).digest()
        keys.append(last)
    return keys


def public(private):
    key = X25519PrivateKey.from_private_bytes(private).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def dh(private, other):
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(other))


def aead(key, counter, text, aad):
    return ChaCha20Poly1305(key).encrypt(struct.pack("<IQ", 0, counter), text, aad)


def seed(name):
    return hash_(b"adit test vector: " + name)


initiator, responder = seed(b"initiator"), seed(b"responder")
e_i, e_r, psk = seed(b"initiator's ephemeral"), seed(b"responder's ephemeral"), seed(b"shared secret")
stamp = struct.pack(">QI", 0x400000006553F10A, 0x3B000000)
index_i, index_r = 0x01020304, 0xA1B2C3D4

# The initiation.
c = hash_(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
h = hash_(hash_(c + b"WireGuard v1 zx2c4 Jason@zx2c4.com") + public(responder))
(c,) = kdf(1, c, public(e_i))
h = hash_(h + public(e_i))
c, k = kdf(2, c, dh(e_i, public(responder)))
static = aead(k, 0, public(initiator), h)
h = hash_(h + static)
c, k = kdf(2, c, dh(initiator, public(responder)))
time = aead(k, 0, stamp, h)
h = hash_(h + time)
initiation = struct.pack("<II", 1, index_i) + public(e_i) + static + time
initiation += mac(hash_(b"mac1----" + public(responder)), initiation)
initiation += bytes(16)

# The response, to an initiator that handed out a cookie before.
(c,) = kdf(1, c, public(e_r))
h = hash_(h + public(e_r))
(c,) = kdf(1, c, dh(e_r, public(e_i)))
(c,) = kdf(1, c, dh(e_r, public(initiator)))
c, t, k = kdf(3, c, psk)
h = hash_(h + t)
empty = aead(k, 0, b"", h)
response = struct.pack("<III", 2, index_r, index_i) + public(e_r) + empty
response += mac(hash_(b"mac1----" + public(initiator)), response)
cookie = seed(b"cookie")[:16]
response += mac(cookie, response)

# A packet each way; the responder's is its second.
to_responder, to_initiator = kdf(2, c, b"")
text = bytes(range(48))
first = struct.pack("<IIQ", 4, index_r, 0) + aead(to_responder, 0, text, b"")
second = struct.pack("<IIQ", 4, index_i, 1) + aead(to_initiator, 1, text, b"")

print("//! A handshake and a packet each way, made by `vectors.py` beside this file; not by hand.\n")
for name, value in [
    ("INITIATOR", initiator), ("RESPONDER", responder), ("INITIATOR_EPHEMERAL", e_i), ("RESPONDER_EPHEMERAL", e_r),
    ("SHARED", psk), ("STAMP", stamp), ("COOKIE", cookie), ("INITIATION", initiation), ("RESPONSE", response),
    ("FIRST_OF_INITIATOR", first), ("SECOND_OF_RESPONDER", second),
]:
    print(f"pub(super) const {name}: [u8; {len(value)}] = [{', '.join(f'0x{b:02x}' for b in value)}];")
print(f"pub(super) const INDEX_OF_INITIATOR: u32 = 0x{index_i:08x};")
print(f"pub(super) const INDEX_OF_RESPONDER: u32 = 0x{index_r:08x};")
