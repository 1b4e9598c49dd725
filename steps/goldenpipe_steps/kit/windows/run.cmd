@echo off
rem What a job's output is written by: cmd.exe joins both streams as bytes, and 65001 makes them UTF-8.
chcp 65001 >nul
set GOLDENPIPE=1
cd /d "%~dp0work"
powershell.exe -NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "%~dp0command.ps1" >>"%~dp0out" 2>&1 <nul
exit /b %errorlevel%
