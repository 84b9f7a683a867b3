//! [`KeyPart`](super::KeyPart) for types of other crates, each with the feature of its name.

#[cfg(feature = "uuid")]
impl super::KeyPart for uuid::Uuid {
    fn write(&self, key: &mut super::KeyWriter<'_>) {
        key.text(
            self.hyphenated()
                .encode_lower(&mut uuid::Uuid::encode_buffer()),
        );
    }

    const KIND: u8 = 30;
}
