"""The generator of ShapesLT and ShapesLT80: glyphs, pictures and captions."""
