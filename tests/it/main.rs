mod docs;
mod layering;
mod processes;
