"""What is asked of finished runs: how trainings compare (ablation), which images people prefer (preference)."""
