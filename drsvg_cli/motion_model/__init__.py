"""The model of `general`: DR-SVG's latents, as maps, over the motion of whole frames."""
