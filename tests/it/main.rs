mod layering;
mod processes;
