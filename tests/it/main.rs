mod jobs;
mod layering;
mod processes;
