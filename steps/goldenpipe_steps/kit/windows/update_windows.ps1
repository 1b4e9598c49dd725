# Runs as a job: Windows Update's own interface refuses itself to remote sessions. One round; a restart may bring more.
$session = New-Object -ComObject Microsoft.Update.Session
$searcher = $session.CreateUpdateSearcher()
for ($try = 1; ; $try++) {
    try { $found = $searcher.Search("IsInstalled=0 and IsHidden=0 and Type='Software'").Updates; break }
    catch { if ($try -ge 3) { throw "Windows Update cannot be asked: $($_.Exception.Message)" }; Start-Sleep -Seconds 20 }
}
$wanted = New-Object -ComObject Microsoft.Update.UpdateColl
foreach ($update in $found) {
    if ($update.InstallationBehavior.CanRequestUserInput) { continue }
    if (-not $update.EulaAccepted) { $update.AcceptEula() }
    $wanted.Add($update) | Out-Null
}
if ($wanted.Count -eq 0) { Write-Record '100 There are no more updates'; exit 0 }
$number = 0
foreach ($update in $wanted) {
    $number += 1
    Write-Record "$([int](95 * ($number - 1) / $wanted.Count)) Installing $($update.Title) ($number of $($wanted.Count))"
    $one = New-Object -ComObject Microsoft.Update.UpdateColl
    $one.Add($update) | Out-Null
    $downloader = $session.CreateUpdateDownloader()
    $downloader.Updates = $one
    $result = $downloader.Download()
    if ($result.ResultCode -eq 2) {
        $installer = $session.CreateUpdateInstaller()
        $installer.Updates = $one
        $result = $installer.Install()
    }
    $code = '0x{0:x8}' -f $result.HResult
    [Console]::Out.WriteLine("$($update.Title): result $($result.ResultCode), $code")
    if (@(2, 3) -notcontains $result.ResultCode) { Write-Record "failed $code $($update.Title)" }
}
exit 3010
