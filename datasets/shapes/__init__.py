"""The generator of ShapesLT: glyphs, pictures and captions."""
