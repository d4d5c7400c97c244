"""The bundled chat, host side: what people and orchestrators do in it, and who may."""
